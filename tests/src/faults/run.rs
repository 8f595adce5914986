//! One run: events flow, faults strike, all drains, and the oracle looks.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use fastrand::Rng;
use tokio_util::sync::CancellationToken;

use super::{
    attack::{self, Attack, Spoils},
    bookings,
    fault::Fault,
    measured::Measured,
    oracle,
    report::Outcome,
    sender::{Clock, Sender},
    stage::{self, Stage, make_late_bookings},
    striking::strike_all,
    tally::{Counts, Tally},
    watch::Watch,
    world::World,
};
use crate::{process, servers::Durability};

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its name in the report.
    pub name: String,
    /// What flows.
    pub load: Load,
    /// What strikes.
    pub faults: Vec<Fault>,
    /// How long the rests between strikes are, as a multiple of the usual ones.
    pub rests: f64,
    /// Who attacks.
    pub attacks: Vec<Attack>,
    /// The clock that deliveries are signed by.
    pub clock: Clock,
    /// From which all that is random follows.
    pub seed: u64,
    /// About how many events flow, or how many bookings are sold.
    pub events: usize,
    /// New deliveries a second, or new bookings.
    pub rate: u32,
    /// What the servers promise.
    pub durability: Durability,
}

/// What flows while things break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Events of a world of their own.
    Events,
    /// The same, half of them of a hostile host.
    HostileHost,
    /// Bookings, from the command to the news that they are paid.
    Bookings,
}

/// Runs a plan on a deployment of its own.
///
/// # Errors
/// When the deployment does not come up, or does not come back after a fault.
/// What the oracle finds is no error, but part of the outcome. Either way the
/// logs of a run that failed are kept.
pub async fn run(plan: &Plan) -> Result<Outcome> {
    let mut rng = Rng::with_seed(plan.seed);
    let world = match plan.load {
        Load::Bookings => return bookings::run(plan, rng).await,
        Load::Events => World::make(&mut rng, plan.events),
        Load::HostileHost => World::with_hostile_host(&mut rng, plan.events),
    };
    let world = Arc::new(world);
    let stage = Arc::new(Stage::set(plan, world.bookings, &[]).await?);
    let outcome = on(plan, &stage, world, rng).await;
    kept(plan, &stage, outcome)
}

/// Keeps the logs of a run that failed.
pub(super) fn kept(plan: &Plan, stage: &Stage, outcome: Result<Outcome>) -> Result<Outcome> {
    let failed = outcome.as_ref().map_or(true, |outcome| !outcome.is_good());
    if failed {
        let label = format!("{}-{}", plan.name, plan.seed);
        let kept = stage.keep_logs(&label)?;
        eprintln!(
            "{} failed with --seed {}; its logs are in {}",
            plan.name,
            plan.seed,
            kept.display()
        );
    }
    outcome
}

async fn on(plan: &Plan, stage: &Arc<Stage>, world: Arc<World>, mut rng: Rng) -> Result<Outcome> {
    let tally = Arc::clone(&stage.tally);
    let watch = Watch::begin(stage).await?;
    let struck = Mutex::new(Vec::new());
    let sent = CancellationToken::new();
    let _whatever_happens = sent.clone().drop_guard();
    let sender = Sender {
        world: Arc::clone(&world),
        address: stage.address,
        secret: stage.secret.clone(),
        rate: plan.rate,
        tally: Arc::clone(&tally),
        clock: plan.clock,
    };
    let sender_rng = rng.fork();
    let mut flow = Duration::ZERO;
    let sending = async {
        sender.run(sender_rng, || sent.cancel()).await?;
        flow = tally.elapsed();
        Ok(())
    };
    let (spoils, attackers) = attack::begin(&plan.attacks, stage.address, &stage.secret, &sent)?;
    let striking = strike_all(plan, stage, &tally, &struck, &sent, &mut rng);
    let booking = book_late(stage, &tally, plan, world.bookings);
    tokio::try_join!(sending, striking, booking)?;
    stage.drain(stage::BOUND).await?;
    // They end with the flow.
    drop(attackers);
    let client = stage.connect().await?;
    stage::until_projected(&client, stage::BOUND).await?;
    let mut findings = oracle::examine(&client, &world).await?;
    findings.wrong += spoils.accepted();
    let memory = process::peak_memory(stage.ingest.lock().await.process().pid());
    let struck = struck.into_inner().unwrap_or_else(PoisonError::into_inner);
    let counts = tally.counts();
    let measured = Measured {
        plan,
        stage,
        events: world.tales.len(),
        flow,
        struck: &struck,
        ended_by_themselves: watch.ended(),
        deliveries: &counts,
        pace: &counts,
    };
    Ok(measured.outcome(findings, notes(plan, &counts, &spoils, memory)))
}

/// What is only measured in some runs.
fn notes(plan: &Plan, counts: &Counts, spoils: &Spoils, memory: u64) -> Vec<String> {
    let mut notes = Vec::new();
    if !plan.attacks.is_empty() {
        notes.push(format!(
            "genuine events: p99 {} ms, worst {} ms; peak memory of ingest {} MB; attackers: {}",
            counts.latency(99).as_millis(),
            counts.latency(100).as_millis(),
            memory / 1_000_000,
            spoils.in_words(),
        ));
    }
    if plan.clock == Clock::Wrong {
        notes.push(format!("signed 400 s ahead: {:?}", counts.early));
    }
    notes
}

/// The main app makes the late bookings in the middle of the run.
async fn book_late(stage: &Stage, tally: &Tally, plan: &Plan, bookings: i32) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(200);
    let middle = Duration::from_secs(u64::try_from(plan.events)?) / plan.rate / 2;
    loop {
        tokio::time::sleep(PAUSE).await;
        if tally.elapsed() > middle
            && let Ok(client) = stage.connect().await
            && make_late_bookings(&client, bookings).await.is_ok()
        {
            return Ok(());
        }
    }
}
