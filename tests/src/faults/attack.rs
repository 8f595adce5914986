//! Attackers, who do not know the secret, while genuine events flow.

mod flood;
mod slow;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use tokio_util::sync::CancellationToken;

use crate::stripe;

/// What attackers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Request heads that arrive a byte a second.
    SlowHeads,
    /// Bodies that arrive a byte a second.
    SlowBodies,
    /// Ten thousand connections that say nothing.
    Idle,
    /// A hundred thousand requests with forged signatures.
    Forged,
    /// Many requests at once, without reading an answer.
    Pipelined,
    /// Heads of a megabyte.
    GiantHeads,
    /// Genuine deliveries that were overheard long ago.
    Replayed,
    /// Compressed bodies.
    Compressed,
    /// Lengths that are not those of the bodies.
    LyingLengths,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::SlowHeads,
        Self::SlowBodies,
        Self::Idle,
        Self::Forged,
        Self::Pipelined,
        Self::GiantHeads,
        Self::Replayed,
        Self::Compressed,
        Self::LyingLengths,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SlowHeads => "slow-heads",
            Self::SlowBodies => "slow-bodies",
            Self::Idle => "idle-connections",
            Self::Forged => "forged-requests",
            Self::Pipelined => "pipelined-requests",
            Self::GiantHeads => "giant-heads",
            Self::Replayed => "replayed-signatures",
            Self::Compressed => "compressed-bodies",
            Self::LyingLengths => "lying-lengths",
        }
    }
}

/// What attackers have done, and what they were answered.
#[derive(Debug, Default)]
pub(super) struct Spoils(Mutex<BTreeMap<&'static str, usize>>);

impl Spoils {
    fn note(&self, what: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(what).or_default() += 1;
    }

    fn answered(&self, status: u16) {
        self.note(match status {
            200..300 => ACCEPTED,
            400..500 => "refused",
            _ => "answered otherwise",
        });
    }

    /// How often an attacker was answered 2xx.
    pub(super) fn accepted(&self) -> usize {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(ACCEPTED).copied().unwrap_or(0)
    }

    /// All of it in words.
    pub(super) fn in_words(&self) -> String {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let words = counts.iter().map(|(what, count)| format!("{count} {what}"));
        words.collect::<Vec<_>>().join(", ")
    }
}

const ACCEPTED: &str = "accepted";

/// Where attackers aim, and what they have.
#[derive(Clone, Debug)]
struct Aim {
    address: SocketAddr,
    /// A delivery that was genuine, with its signature.
    overheard: Arc<(Vec<u8>, String)>,
    spoils: Arc<Spoils>,
}

/// Has attackers at work until `stop`, on a thread of their own: they are not to
/// take time from the sender.
pub(super) fn begin(
    attacks: &[Attack],
    address: SocketAddr,
    secret: &str,
    stop: &CancellationToken,
) -> Result<(Arc<Spoils>, std::thread::JoinHandle<Result<()>>)> {
    /// Older than any signature that is accepted.
    const LONG_AGO: i64 = 400;
    let body = br#"{"id":"evt_overheard","object":"event","type":"invoice.paid","livemode":false}"#;
    let signature = stripe::sign(secret, stripe::now() - LONG_AGO, body);
    let spoils = Arc::new(Spoils::default());
    let aim = Aim {
        address,
        overheard: Arc::new((body.to_vec(), signature)),
        spoils: Arc::clone(&spoils),
    };
    let (attacks, stop) = (attacks.to_vec(), stop.clone());
    let attackers = std::thread::Builder::new()
        .name("attackers".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                for attack in attacks {
                    attack_by(attack, &aim);
                }
                // All of them end with the runtime.
                stop.cancelled().await;
            });
            Ok(())
        })
        .context("cannot start the attackers")?;
    Ok((spoils, attackers))
}

fn attack_by(attack: Attack, aim: &Aim) {
    /// Attackers of one kind at once.
    const MANY: usize = 500;
    const IDLE: usize = 10_000;
    const FEW: usize = 32;
    let count = match attack {
        Attack::SlowHeads | Attack::SlowBodies => MANY,
        Attack::Idle => IDLE,
        _ => FEW,
    };
    for number in 0..count {
        let aim = aim.clone();
        tokio::spawn(async move {
            match attack {
                Attack::SlowHeads => slow::drip(&aim, slow::HEAD, number).await,
                Attack::SlowBodies => slow::drip(&aim, slow::HEAD_OF_BODY, number).await,
                Attack::Idle => slow::idle(&aim, number).await,
                _ => flood::flood(attack, &aim, number).await,
            }
        });
    }
}
