//! Whether an event costs more when there are millions of rows, or when many
//! events wait.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::{
    drain::{self, Drained, Run, Take, megabytes},
    figures::{Figure, Goal, Unit},
    plan::Plan,
    report::Report,
    stage::{Database, Keep, Stage},
};

/// The rows of earlier events.
const OLD: &str = include_str!("old.sql");
/// How many old events are written in one transaction.
const AT_ONCE: u64 = 500_000;
/// Of a long queue, how many events are measured.
const OF_LONG_QUEUE: u64 = 100_000;
/// As long as a statement may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// What an event costs.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// Time, in microseconds.
    time: f64,
    /// Processor time of the worker and of PostgreSQL, in microseconds.
    processor: f64,
    /// The most memory that the worker held, in megabytes.
    memory: f64,
}

impl Cost {
    fn of(drained: &Drained) -> Self {
        let processor = drained.cpu_each("worker") + drained.cpu_each("PostgreSQL");
        Self {
            time: 1e6 / drained.rate(),
            processor,
            memory: megabytes(drained.peak_memory),
        }
    }

    /// The lower of two measurements, each for itself.
    fn better(self, other: Self) -> Self {
        Self {
            time: self.time.min(other.time),
            processor: self.processor.min(other.processor),
            memory: self.memory.max(other.memory),
        }
    }
}

/// Measures the same events over ledgers of growing length, and then over a long
/// queue.
pub(crate) async fn measure(stage: &mut Stage, plan: &Plan, report: &mut Report) -> Result<()> {
    let database = stage.database().await?;
    let mut none: Option<Cost> = None;
    let mut rows = 0;
    for ledger in plan.ledgers {
        report.progress(&format!("growth: making {ledger} rows"));
        grow(&database, rows..*ledger).await?;
        rows = *ledger;
        report.progress(&format!("growth: {} events with {ledger} rows", plan.grown));
        let mut cost: Option<Cost> = None;
        for _ in 0..plan.rounds {
            let events = stage.events(plan.grown);
            drain::fill(stage, &events).await?;
            let phase = format!("growth, {ledger} rows");
            let drained = drain::drain(
                stage,
                &database,
                &events,
                Run {
                    take: Take::All,
                    keep: Keep::Bytes,
                    phase: &phase,
                },
            )
            .await?;
            let this = Cost::of(&drained);
            report.shares([drained.shares]);
            cost = Some(cost.map_or(this, |cost| cost.better(this)));
        }
        let cost = cost.context("it was measured")?;
        let none = *none.get_or_insert(cost);
        add(report, &format!("{ledger} rows"), cost, none);
    }
    stage.drop(database).await?;
    match none {
        Some(none) => long_queue(stage, plan, report, none).await,
        None => Ok(()),
    }
}

async fn long_queue(stage: &mut Stage, plan: &Plan, report: &mut Report, none: Cost) -> Result<()> {
    report.progress(&format!("growth: queueing {} events", plan.long_queue));
    let database = stage.database().await?;
    let events = stage.events(plan.long_queue);
    drain::fill(stage, &events).await?;
    let first = OF_LONG_QUEUE.min(plan.long_queue);
    report.progress(&format!("growth: taking {first} of them"));
    let phase = format!("growth, {} queued", plan.long_queue);
    let take = Take::First(first);
    let drained = drain::drain(
        stage,
        &database,
        &events,
        Run {
            take,
            keep: Keep::Bytes,
            phase: &phase,
        },
    )
    .await?;
    stage.purge().await?;
    stage.drop(database).await?;
    let cost = Cost::of(&drained);
    let name = format!("{} queued", plan.long_queue);
    report.shares([drained.shares]);
    add(report, &name, cost, none);
    Ok(())
}

fn add(report: &mut Report, name: &str, cost: Cost, none: Cost) {
    let figure = |what: &str, ours, none, unit| {
        Figure::new(
            "growth (limit: with none)",
            &format!("{what}, {name}"),
            ours,
            unit,
        )
        .against(none)
    };
    let processor = "processor time an event with PostgreSQL's";
    report.add([
        figure("time an event", cost.time, none.time, Unit::Microseconds)
            .goal(Goal::RatioAtMost(1.2)),
        figure(
            processor,
            cost.processor,
            none.processor,
            Unit::Microseconds,
        )
        .goal(Goal::RatioAtMost(1.2)),
        figure("peak memory", cost.memory, none.memory, Unit::Megabytes).goal(Goal::AtMost(60.0)),
    ]);
}

/// Adds the rows of old events.
async fn grow(database: &Database, rows: std::ops::Range<u64>) -> Result<()> {
    let client = database.connect().await?;
    client
        .batch_execute(&format!("SET statement_timeout = {}", PATIENCE.as_millis()))
        .await?;
    let mut from = rows.start;
    while from < rows.end {
        let to = (from + AT_ONCE).min(rows.end);
        let statements = OLD
            .replace("$FROM", &from.to_string())
            .replace("$TO", &to.to_string());
        client
            .batch_execute(&statements)
            .await
            .context("making rows")?;
        from = to;
    }
    client.batch_execute("VACUUM ANALYZE").await?;
    Ok(())
}
