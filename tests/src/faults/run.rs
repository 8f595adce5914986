//! One run: events flow, faults strike, all drains, and the oracle looks.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use fastrand::Rng;
use futures_util::future::try_join_all;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    attack::{self, Attack, Spoils},
    fault::{Fault, Place},
    oracle,
    report::Outcome,
    sender::{Clock, Sender},
    stage::{self, Stage, make_late_bookings},
    tally::{Counts, Tally},
    world::World,
};
use crate::{process, servers::Durability};

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its name in the report.
    pub name: String,
    /// What strikes.
    pub faults: Vec<Fault>,
    /// Who attacks.
    pub attacks: Vec<Attack>,
    /// The clock that deliveries are signed by.
    pub clock: Clock,
    /// From which all that is random follows.
    pub seed: u64,
    /// About how many events flow.
    pub events: usize,
    /// New deliveries a second.
    pub rate: u32,
    /// What the servers promise.
    pub durability: Durability,
}

/// A strike that was mended, by the tally's time.
#[derive(Clone, Copy, Debug)]
struct Struck {
    fault: Fault,
    begun: Duration,
    mended: Duration,
}

/// Runs a plan on a deployment of its own.
///
/// # Errors
/// When the deployment does not come up, or does not come back after a fault.
/// What the oracle finds is no error, but part of the outcome. Either way the
/// logs of a run that failed are kept.
pub async fn run(plan: &Plan) -> Result<Outcome> {
    let mut rng = Rng::with_seed(plan.seed);
    let world = Arc::new(World::make(&mut rng, plan.events));
    let stage = Arc::new(Stage::set(plan, world.bookings).await?);
    let outcome = on(plan, &stage, world, rng).await;
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
    let ended = Arc::new(AtomicUsize::new(0));
    let _supervisor = Task::of(tokio::spawn(
        Arc::clone(stage).supervise(Arc::clone(&ended)),
    ));
    let watched = stage.connect().await?;
    let _watcher = Task::of(tokio::spawn(watch(
        Arc::clone(stage),
        Arc::clone(&tally),
        watched,
    )));
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
    let recoveries = whole_again(&struck, flow).filter_map(|(strike, until)| {
        let time = counts.recovery(strike.mended, until, rate(plan))?;
        Some((time, strike.fault.name()))
    });
    let recoveries: Vec<(Duration, &'static str)> = recoveries.collect();
    let of_main_app = struck.iter().filter(|strike| strike.fault.is_of_main_app());
    let rows_right = of_main_app.filter_map(|strike| {
        // The next strike puts something in the way again.
        let next = struck.iter().map(|next| next.begun);
        let next = next.filter(|begun| *begun > strike.mended).min();
        counts.rows_right(strike.mended, next.unwrap_or(Duration::MAX))
    });
    let mut strikes: BTreeMap<&'static str, usize> = BTreeMap::new();
    for strike in &struck {
        *strikes.entry(strike.fault.name()).or_default() += 1;
    }
    Ok(Outcome {
        name: plan.name.clone(),
        seed: plan.seed,
        events: world.tales.len(),
        seconds: flow.as_secs_f64(),
        kills: stage.kills.load(Ordering::Relaxed),
        strikes,
        ended_by_themselves: ended.load(Ordering::Relaxed),
        accepted: counts.accepted(),
        refused: counts.answers.get(&503).copied().unwrap_or(0),
        unanswered: counts.unanswered,
        strange: counts.strange(),
        answers: counts.answers.clone(),
        findings,
        outage: counts.longest_outage(flow),
        recovery: recoveries.iter().max().copied(),
        measured_recoveries: recoveries.len(),
        rows_right: rows_right.max(),
        p99: counts.latency(99),
        worst: counts.latency(100),
        notes: notes(plan, &counts, &spoils, memory),
    })
}

/// The strikes after which everything was whole again, each with the moment until
/// which it stayed so.
fn whole_again(struck: &[Struck], flow: Duration) -> impl Iterator<Item = (Struck, Duration)> {
    struck.iter().filter_map(move |strike| {
        let mended = strike.mended;
        let is_broken = |other: &Struck| other.begun <= mended && other.mended > mended;
        if struck.iter().any(is_broken) {
            return None;
        }
        let next = struck.iter().map(|next| next.begun);
        let until = next.filter(|begun| *begun > mended).min();
        Some((*strike, until.unwrap_or(flow).min(flow)))
    })
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

fn rate(plan: &Plan) -> usize {
    usize::try_from(plan.rate).unwrap_or(usize::MAX)
}

/// Faults of one place strike one after the other; those of different places
/// meet as they come.
async fn strike_all(
    plan: &Plan,
    stage: &Stage,
    tally: &Tally,
    struck: &Mutex<Vec<Struck>>,
    sent: &CancellationToken,
    rng: &mut Rng,
) -> Result<()> {
    let mut places: BTreeMap<Place, Vec<Fault>> = BTreeMap::new();
    for fault in &plan.faults {
        places.entry(fault.place()).or_default().push(*fault);
    }
    let places = places.into_values().map(|faults| {
        let mut rng = rng.fork();
        async move {
            loop {
                let fault = faults[rng.usize(..faults.len())];
                let rest = fault.rest().mul_f64(0.5 + rng.f64());
                tokio::select! {
                    () = tokio::time::sleep(rest) => {}
                    () = sent.cancelled() => return Ok(()),
                }
                let begun = tally.elapsed();
                let mended = fault.strike(stage, &mut rng).await;
                mended.with_context(|| fault.name())?;
                let mended = tally.elapsed();
                let strike = Struck {
                    fault,
                    begun,
                    mended,
                };
                struck
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(strike);
            }
        }
    });
    try_join_all(places).await.map(drop)
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

/// Sees when workers commit, and how long rows are pending.
async fn watch(stage: Arc<Stage>, tally: Arc<Tally>, client: tokio_postgres::Client) {
    const LOOK: Duration = Duration::from_millis(100);
    let query = "SELECT (SELECT max(first_seen_at)::text FROM stripe.event), \
        (SELECT extract(epoch FROM now() - min(first_at))::double precision \
            FROM stripe.pending_projection)";
    let (mut client, mut last) = (Some(client), None);
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(connected) = &client else {
            client = stage.connect().await.ok();
            continue;
        };
        match connected.query_one(query, &[]).await {
            Ok(row) => {
                let oldest: Option<f64> = row.get(1);
                tally.pending(oldest.map(|age| Duration::from_secs_f64(age.max(0.0))));
                let seen: Option<String> = row.get(0);
                if seen != last {
                    tally.commit();
                    last = seen;
                }
            }
            Err(_) => client = None,
        }
    }
}

/// A task that ends with this value.
struct Task(JoinHandle<()>);

impl Task {
    fn of(task: JoinHandle<()>) -> Self {
        Self(task)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Fault, Struck, whole_again};

    #[test]
    fn nothing_recovers_while_something_else_is_broken() {
        let second = Duration::from_secs;
        let strike = |begun, mended| Struck {
            fault: Fault::ALL[0],
            begun: second(begun),
            mended: second(mended),
        };
        // The second begins before the first is mended; the third comes alone.
        let struck = [strike(1, 4), strike(3, 8), strike(20, 21)];
        let seen: Vec<(Duration, Duration)> = whole_again(&struck, second(30))
            .map(|(strike, until)| (strike.mended, until))
            .collect();
        assert_eq!(seen, [(second(8), second(20)), (second(21), second(30))]);
    }
}
