//! How fast the worker drains its queue, against the same rows written by plain
//! batched SQL.

use std::{
    collections::HashSet,
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    child::{Child, Job},
    events::{Events, Stream},
    figures::{Figure, Goal, Unit},
    limit::{
        publish::{Confirmed, Publish, Until},
        sql::Written,
    },
    plan::Plan,
    report::Report,
    shares::{Clock, Shares},
    stage::{self, Database, Keep, Stage},
};

/// How many are published and not yet confirmed while the queue is filled.
const FILL_IN_FLIGHT: usize = 512;
/// Bound for the worker to start: connecting twice.
const START_BOUND: Duration = Duration::from_secs(30);
/// Bound for the queue to be drained, at a hundredth of the rate hoped for.
const DRAIN_BOUND: Duration = Duration::from_secs(600);
/// More than the worker ever has in hand.
const LAST: u64 = 5_000;
/// Pauses between two looks at the database, and at the queue.
const OFTEN: Duration = Duration::from_millis(2);
const SELDOM: Duration = Duration::from_millis(20);

/// How much of a queue is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Take {
    /// Up to the last row.
    All,
    /// Until so many have left the queue.
    First(u64),
}

/// One draining.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    pub(crate) take: Take,
    pub(crate) keep: Keep,
    /// Its name in the table of shares.
    pub(crate) phase: &'a str,
}

/// What one draining took.
#[derive(Debug)]
pub(crate) struct Drained {
    /// Events that were taken.
    pub(crate) events: u64,
    /// From the worker's first sign of consuming to the last row.
    pub(crate) elapsed: Duration,
    /// Who used the processor meanwhile.
    pub(crate) shares: Shares,
    /// The most memory that the worker ever held, in bytes.
    pub(crate) peak_memory: u64,
}

impl Drained {
    /// Events in a second.
    pub(crate) fn rate(&self) -> f64 {
        count(self.events) / self.elapsed.as_secs_f64()
    }

    /// Somebody's processor time an event, in microseconds.
    pub(crate) fn cpu_each(&self, whose: &str) -> f64 {
        self.shares.used_by(whose) * 1e6 / count(self.events)
    }
}

/// Measures the worker and its limit.
pub(crate) async fn measure(stage: &mut Stage, plan: &Plan, report: &mut Report) -> Result<()> {
    let events = stage.events(plan.backlog);
    report.progress(&format!("worker: {} queued events", plan.backlog));
    let (first, written) = drained(stage, &events, Keep::Bytes, "worker, first time").await?;
    report.progress(&format!("worker: {:.0} a second; plain SQL", first.rate()));
    let before = plain_sql(stage, &written, &events, report).await?;
    report.progress(&format!("plain SQL: {before:.0} a second; worker again"));
    let (second, _) = drained(stage, &events, Keep::Bytes, "worker").await?;
    report.progress(&format!(
        "worker: {:.0} a second; no bytes kept",
        second.rate()
    ));
    let (lean, _) = drained(stage, &events, Keep::Nothing, "worker, no bytes kept").await?;
    report.progress(&format!("worker: {:.0} a second; plain SQL", lean.rate()));
    let after = plain_sql(stage, &written, &events, report).await?;
    report.progress(&format!("plain SQL: {after:.0} a second"));

    let limit = report.better_limit("plain batched SQL", before, after);
    let best = first.rate().max(second.rate());
    let figure = |name: &str, ours, unit| Figure::new("worker", name, ours, unit);
    let what = format!("events a second, {} queued", plan.backlog);
    report.add([
        figure(&what, best, Unit::PerSecond)
            .against(limit)
            .goal(Goal::RatioAtLeast(0.40)),
        figure("the same against KEEP_EVENTS_DAYS=0", best, Unit::PerSecond)
            .against(lean.rate())
            .goal(Goal::RatioAtLeast(0.90)),
        figure(
            "processor time an event",
            second.cpu_each("worker"),
            Unit::Microseconds,
        ),
        figure(
            "peak memory",
            megabytes(second.peak_memory),
            Unit::Megabytes,
        )
        .goal(Goal::AtMost(60.0)),
    ]);
    report.shares([first.shares, second.shares, lean.shares]);
    Ok(())
}

/// Has a worker drain a queue of these events into a database of its own; and
/// what it wrote.
async fn drained(
    stage: &Stage,
    events: &Events,
    keep: Keep,
    phase: &str,
) -> Result<(Drained, Written)> {
    let database = stage.database().await?;
    fill(stage, events).await?;
    let run = Run {
        take: Take::All,
        keep,
        phase,
    };
    let drained = drain(stage, &database, events, run).await?;
    let written = Written::read(&database.connect().await?, events).await?;
    stage.drop(database).await?;
    Ok((drained, written))
}

/// Puts events into the worker's queue, as `ingest` would.
pub(crate) async fn fill(stage: &Stage, events: &Events) -> Result<Confirmed> {
    let job = Publish {
        amqp_url: stage.servers.amqp_url(),
        form: stage.as_ingest(),
        events: events.clone(),
        in_flight: FILL_IN_FLIGHT,
        pace: Duration::ZERO,
        until: Until::All,
    };
    Child::run(&Job::Publish(job)).await
}

/// Starts a worker, waits until the ledger has what is to be taken of the queue's
/// events, and stops it again.
pub(crate) async fn drain(
    stage: &Stage,
    database: &Database,
    events: &Events,
    run: Run<'_>,
) -> Result<Drained> {
    let Run { take, keep, phase } = run;
    stage.settle().await?;
    let client = database.connect().await?;
    let all = events.range.end - events.range.start;
    let mut worker = stage.worker(database, keep)?;
    let pid = worker.process().pid();
    stage::until("the worker to consume", OFTEN, START_BOUND, async || {
        let is_consumed = stage.queue().await?.consumers > 0;
        ensure!(
            worker.process().is_alive(),
            "the worker ended: {}",
            worker.log()
        );
        Ok((!is_consumed).then(|| "nobody consumes".to_owned()))
    })
    .await?;
    let clock = Clock::start(stage, &[("worker", pid)]);
    let begun = Instant::now();
    let left = match take {
        Take::All => 0,
        Take::First(first) => all - first,
    };
    stage::until("the queue to be drained", SELDOM, DRAIN_BOUND, async || {
        let waiting = stage.queue().await?.waiting;
        Ok((u64::from(waiting) > left).then(|| format!("{waiting} wait")))
    })
    .await?;
    let taken = match take {
        Take::All => {
            until_all_rows(&client, events).await?;
            all
        }
        Take::First(_) => {
            let rows = "SELECT count(*) FROM stripe.event";
            let rows: i64 = client.query_one(rows, &[]).await?.get(0);
            u64::try_from(rows)?
        }
    };
    let elapsed = begun.elapsed();
    let shares = clock.stop(phase);
    let peak_memory = harness::process::peak_memory(pid);
    worker.terminate().await?;
    if matches!(take, Take::All) {
        check(&client, events).await?;
    }
    Ok(Drained {
        events: taken,
        elapsed,
        shares,
        peak_memory,
    })
}

/// Waits for the rows of the queue's last events, among which are those that the
/// worker has in hand when the queue is empty.
async fn until_all_rows(client: &tokio_postgres::Client, events: &Events) -> Result<()> {
    let Range { start, end } = events.range.clone();
    let mut missing = ids(events, end.saturating_sub(LAST).max(start)..end);
    let known = "SELECT id FROM stripe.event WHERE id = ANY($1)";
    let known = client.prepare(known).await?;
    stage::until("the last rows", OFTEN, DRAIN_BOUND, async || {
        let rows = client.query(&known, &[&missing]).await?;
        let seen: HashSet<&str> = rows.iter().map(|row| row.get(0)).collect();
        missing.retain(|id| !seen.contains(id.as_str()));
        Ok((!missing.is_empty()).then(|| format!("{} are missing", missing.len())))
    })
    .await
}

/// Makes sure that every event has had its effect.
async fn check(client: &tokio_postgres::Client, events: &Events) -> Result<()> {
    let all = ids(events, events.range.clone());
    let query = "SELECT concat_ws(' ', outcome, reason), count(*) FROM stripe.event \
                 WHERE id = ANY($1) GROUP BY 1";
    let mut effects = 0;
    let mut outcomes = Vec::new();
    for row in client.query(query, &[&all]).await? {
        let (outcome, count): (String, i64) = (row.get(0), row.get(1));
        if outcome == "applied" || outcome == "stale" {
            effects += usize::try_from(count)?;
        }
        outcomes.push(format!("{outcome}: {count}"));
    }
    ensure!(
        effects == all.len(),
        "only {effects} of {} events have had their effect ({})",
        all.len(),
        outcomes.join(", ")
    );
    Ok(())
}

/// Writes the rows with plain SQL into a database of its own; events a second.
async fn plain_sql(
    stage: &Stage,
    written: &Written,
    events: &Events,
    report: &mut Report,
) -> Result<f64> {
    let database = stage.database().await?;
    let client = database.connect().await?;
    let clock = Clock::start(stage, &[]);
    let elapsed = written.write(&client).await?;
    report.shares([clock.stop("plain batched SQL")]);
    check(&client, events).await?;
    drop(client);
    stage.drop(database).await?;
    Ok(count(events.range.end - events.range.start) / elapsed.as_secs_f64())
}

fn ids(events: &Events, range: Range<u64>) -> Vec<String> {
    let stream = Stream::of(events);
    range
        .map(|number| stream.id(&stream.event(number)))
        .collect()
}

/// A number of events, to be divided.
pub(crate) fn count(events: u64) -> f64 {
    events as f64
}

/// Bytes as megabytes.
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
