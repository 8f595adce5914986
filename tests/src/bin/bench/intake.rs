//! How fast webhooks are taken in, against raw confirmed publishes of the same bodies to the
//! same queue: by the least that the broker can do, and as `ingest` does it.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::{
    child::{Child, Job},
    drain::megabytes,
    events::Events,
    figures::{Figure, Goal, Unit},
    limit::publish::{Confirmed, Form, Publish, Until},
    load::closed::{Answered, Closed},
    plan::Plan,
    report::Report,
    shares::{Clock, Shares},
    stage::{self, Stage},
};

/// Connections, and publishes in flight.
const LEVELS: [usize; 3] = [1, 64, 512];
/// More than can be sent in a second over one connection, and over many.
const MOST_A_SECOND: [u64; 2] = [6_000, 50_000];

/// What one measurement of `ingest` gave.
struct Taken {
    answered: Answered,
    shares: Shares,
    peak_memory: u64,
}

impl Taken {
    fn rate(&self) -> f64 {
        self.answered.count as f64 / self.answered.elapsed.as_secs_f64()
    }

    /// Processor time of `ingest` a webhook, in microseconds.
    fn cpu_each(&self) -> f64 {
        self.shares.used_by("ingest") * 1e6 / (self.rate() * self.shares.seconds)
    }
}

/// What raw publishes gave at a number of connections.
struct Limits {
    /// By the least that the broker can do for the same bodies, measured twice. No change of
    /// ours makes it dearer, so that it cannot better the ratio.
    least: [Confirmed; 2],
    /// By the exchange that `ingest` uses, with its properties and headers.
    as_ingest: Confirmed,
}

/// Measures `ingest` and its limits at each number of connections.
pub(crate) async fn measure(stage: &mut Stage, plan: &Plan, report: &mut Report) -> Result<()> {
    let (least, as_ingest) = (stage.least(), stage.as_ingest());
    for level in LEVELS {
        report.progress(&format!("intake: {level} at once"));
        let (before, _) = raw(stage, plan, least.clone(), level, Duration::ZERO).await?;
        let ours = ours(stage, plan, level).await?;
        let (same, _) = raw(stage, plan, as_ingest.clone(), level, Duration::ZERO).await?;
        let (after, shares) = raw(stage, plan, least.clone(), level, Duration::ZERO).await?;
        report.progress(&format!(
            "intake: raw {:.0}, ours {:.0}, raw as ours {:.0}, raw {:.0} a second",
            before.rate(),
            ours.rate(),
            same.rate(),
            after.rate()
        ));
        let limits = Limits {
            least: [before, after],
            as_ingest: same,
        };
        add(report, level, &limits, &ours);
        report.shares([ours.shares, shares]);
    }
    Ok(())
}

fn add(report: &mut Report, level: usize, limits: &Limits, ours: &Taken) {
    let figure = |name: &str, ours, unit| {
        Figure::new("intake", &format!("{name}, {level} at once"), ours, unit)
    };
    let name = format!("raw publishes, {level} in flight");
    let [before, after] = &limits.least;
    let limit = report.better_limit(&name, before.rate(), after.rate());
    let least = |of: fn(&Confirmed) -> Duration| micros(of(before).min(of(after)));
    let latency = &ours.answered.latency;
    let rate = figure("webhooks a second", ours.rate(), Unit::PerSecond).against(limit);
    let mut same = figure(
        "the same against publishes as ours",
        ours.rate(),
        Unit::PerSecond,
    )
    .against(limits.as_ingest.rate());
    let mut p50 = figure("p50", micros(latency.p50), Unit::Microseconds)
        .against(least(|confirmed| confirmed.latency.p50));
    let p99 = figure("p99", micros(latency.p99), Unit::Microseconds)
        .against(least(|confirmed| confirmed.latency.p99));
    let mut cpu = figure(
        "processor time a webhook",
        ours.cpu_each(),
        Unit::Microseconds,
    );
    let mut memory = figure("peak memory", megabytes(ours.peak_memory), Unit::Megabytes);
    if level == 1 {
        p50 = p50.goal(Goal::RatioAtMost(1.25));
    } else {
        same = same.goal(Goal::RatioAtLeast(0.75));
        cpu = cpu.goal(Goal::AtMost(30.0));
    }
    if level == 512 {
        memory = memory.goal(Goal::AtMost(30.0));
    }
    report.add([rate, same, p50, p99, cpu, memory]);
}

/// Raw publishes of a form, and who used the processor meanwhile. `pace` is the least time
/// from one publish to the next of each in flight.
pub(crate) async fn raw(
    stage: &mut Stage,
    plan: &Plan,
    form: Form,
    in_flight: usize,
    pace: Duration,
) -> Result<(Confirmed, Shares)> {
    let job = Publish {
        amqp_url: stage.servers.amqp_url(),
        form,
        events: enough(stage, plan, in_flight),
        in_flight,
        pace,
        until: Until::Time {
            warm_up: plan.warm_up,
            measure: plan.intake,
        },
    };
    let mut publisher = Child::ready(&Job::Publish(job)).await?;
    publisher.begin().await?;
    let clock = Clock::start(stage, &[("load", publisher.pid())]);
    publisher.end().await?;
    let shares = clock.stop(format!("raw publishes, {in_flight} in flight"));
    let confirmed = publisher.result().await?;
    stage.purge().await?;
    Ok((confirmed, shares))
}

async fn ours(stage: &mut Stage, plan: &Plan, connections: usize) -> Result<Taken> {
    let mut ingest = stage.ingest().await?;
    let pid = ingest.process().pid();
    let job = Closed {
        address: stage::address(&ingest)?,
        secret: stage.secret.clone(),
        events: enough(stage, plan, connections),
        connections,
        warm_up: plan.warm_up,
        measure: plan.intake,
    };
    let mut load = Child::ready(&Job::Closed(job)).await?;
    load.begin().await?;
    let clock = Clock::start(stage, &[("ingest", pid), ("load", load.pid())]);
    load.end().await?;
    let shares = clock.stop(format!("intake, {connections} at once"));
    let answered: Answered = load.result().await?;
    let peak_memory = harness::process::peak_memory(pid);
    ingest.terminate().await?;
    let waiting = stage.queue().await?.waiting;
    stage.purge().await?;
    ensure!(
        answered.refused == 0,
        "ingest refused {} webhooks",
        answered.refused
    );
    ensure!(
        usize::try_from(waiting)? >= answered.count,
        "{} webhooks were answered 200, and {waiting} are in the queue",
        answered.count
    );
    Ok(Taken {
        answered,
        shares,
        peak_memory,
    })
}

/// As many events as can be sent in the time.
fn enough(stage: &mut Stage, plan: &Plan, level: usize) -> Events {
    let [over_one, over_many] = MOST_A_SECOND;
    let rate = if level == 1 { over_one } else { over_many };
    let seconds = (plan.warm_up + plan.intake).as_secs() + 1;
    stage.events(rate * seconds)
}

/// A time in microseconds.
pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
