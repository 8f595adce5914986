//! The whole way, from the request to the visible row, under a steady load.

mod line;

use std::time::Duration;

use anyhow::{Context as _, Result};

use self::line::{Growing, Line, Run, run};
use crate::{
    figures::{Figure, Goal, Unit},
    latency::Latency,
    limit::single,
    load::open::Sent,
    plan::Plan,
    report::Report,
    stage::Stage,
};

/// The rates to hold, from the one hoped for.
const CANDIDATES: [u32; 12] = [
    12_000, 10_000, 9_000, 8_000, 7_000, 6_000, 5_000, 4_000, 3_000, 2_000, 1_000, 500,
];

/// Measures the whole way at each rate, and then the highest rate that is held.
pub(crate) async fn measure(stage: &mut Stage, plan: &Plan, report: &mut Report) -> Result<()> {
    report.progress("whole way: one raw confirm and one raw commit");
    let database = stage.database().await?;
    let before = single::measure(stage, plan, &database).await?;
    let mut line = Line::start(stage, database).await?;
    let (mut runs, mut too_much) = (Vec::new(), u32::MAX);
    for rate in plan.rates {
        report.progress(&format!("whole way: {rate} a second"));
        let given = run(stage, plan, &mut line, *rate, plan.at_rate, Growing::GoOn).await?;
        let run = given.context("only a load that gives up gives nothing")?;
        tell(report, &run);
        if !run.is_held {
            too_much = too_much.min(*rate).min(run.sent.answered_a_second());
        }
        runs.push((*rate, run));
    }
    let held = match plan.hold {
        Some(time) => Some(highest(stage, plan, report, &mut line, too_much, time).await?),
        None => None,
    };
    let database = line.stop().await?;
    let after = single::measure(stage, plan, &database).await?;
    stage.drop(database).await?;

    for (rate, run) in runs {
        add(report, rate, &run, before.least(after).both());
        report.shares([run.shares]);
    }
    if let Some((rate, run)) = held {
        let figure = |name: &str, ours, unit| Figure::new("whole", name, ours, unit);
        report.add([
            figure("highest rate held for 60 s", rate.into(), Unit::PerSecond)
                .goal(Goal::AtLeast(12_000.0)),
        ]);
        if let Some(run) = run {
            let Latency { p50, p99 } = run.sent.visible.latency;
            report.add([
                figure(
                    "request to row, p50, at that rate",
                    millis(p50),
                    Unit::Milliseconds,
                ),
                figure(
                    "request to row, p99, at that rate",
                    millis(p99),
                    Unit::Milliseconds,
                ),
            ]);
            report.shares([run.shares]);
        }
    }
    Ok(())
}

/// Steps down until a rate is held: none of those found to be too much before.
async fn highest(
    stage: &mut Stage,
    plan: &Plan,
    report: &mut Report,
    line: &mut Line,
    too_much: u32,
    time: Duration,
) -> Result<(u32, Option<Run>)> {
    for rate in CANDIDATES {
        if rate >= too_much {
            continue;
        }
        report.progress(&format!(
            "whole way: {rate} a second for {} s",
            time.as_secs()
        ));
        match run(stage, plan, line, rate, time, Growing::GiveUp).await? {
            Some(run) if run.is_held => {
                tell(report, &run);
                return Ok((rate, Some(run)));
            }
            Some(_) | None => report.progress("not held"),
        }
    }
    Ok((0, None))
}

fn tell(report: &Report, run: &Run) {
    let Sent {
        count,
        refused,
        visible,
        ..
    } = &run.sent;
    report.progress(&format!(
        "{}: {count} taken, {refused} refused, at most {} queued, rows seen after {:.1} ms (p50) \
         and {:.1} ms (p99), {} of {} never; the load was {:.1} ms late (p99)",
        if run.is_held { "held" } else { "not held" },
        run.deepest,
        millis(visible.latency.p50),
        millis(visible.latency.p99),
        visible.unseen,
        visible.unseen + visible.seen,
        millis(run.sent.late.p99),
    ));
}

fn add(report: &mut Report, rate: u32, run: &Run, least: Duration) {
    let figure = |name: &str, ours, unit| {
        let held = if run.is_held { "" } else { " (not held)" };
        Figure::new(
            "whole",
            &format!("{name}, {rate} a second{held}"),
            ours,
            unit,
        )
    };
    let Latency { p50, p99 } = run.sent.visible.latency;
    let mut half = figure("request to row, p50", millis(p50), Unit::Milliseconds);
    if rate == 100 {
        half = half.against(millis(least)).goal(Goal::RatioAtMost(2.0));
    }
    report.add([
        half,
        figure("request to row, p99", millis(p99), Unit::Milliseconds),
        figure(
            "request to answer, p50",
            millis(run.sent.answer.p50),
            Unit::Milliseconds,
        ),
        figure(
            "request to answer, p99",
            millis(run.sent.answer.p99),
            Unit::Milliseconds,
        ),
    ]);
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
