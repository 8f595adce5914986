//! Whether commands that wait for a slow Stripe slow the events down: the same queue is drained
//! in turns without commands and with a hundred of them in hand.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt as _;
use harness::{
    servers::rabbitmq,
    stripe_api::{Fault, Gate, Kind, Options, StandIn},
};
use lapin::{
    BasicProperties, Channel, Connection, Consumer,
    options::{BasicConsumeOptions, BasicPublishOptions},
    types::{FieldTable, ShortString},
};
use serde_json::json;
use tokio::task::AbortHandle;

use crate::{
    drain::{self, count},
    events::Events,
    figures::{Figure, Goal, Unit, median},
    plan::Plan,
    report::Report,
    shares::{Clock, Shares},
    stage::{self, Keep, Stage},
};

/// Commands that are in hand while the queue is drained.
const IN_HAND: usize = 100;
/// Of the queue, one part in so many is drained before the measurement begins: the worker
/// connects and takes the commands meanwhile.
const SKIPPED: u64 = 10;
/// Bound for the worker to start, and to have all commands in hand.
const START_BOUND: Duration = Duration::from_secs(60);
/// Bound for the rest of the queue.
const DRAIN_BOUND: Duration = Duration::from_secs(600);
const OFTEN: Duration = Duration::from_millis(5);
const REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// So that the commands are at Stripe within the part that is skipped.
const NO_LIMIT: &str = "1000";
pub(crate) const ORIGIN: &str = "https://app.example.com";

/// Measures in turns, and holds the medians against each other.
pub(crate) async fn measure(stage: &mut Stage, plan: &Plan, report: &mut Report) -> Result<()> {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 1..=plan.command_rounds {
        for (commands, rates) in [(0, &mut without), (IN_HAND, &mut with)] {
            let events = stage.events(plan.command_backlog);
            let (rate, shares) = drained(stage, &events, commands).await?;
            report.progress(&format!(
                "commands, round {round}: {rate:.0} events a second with {commands} in hand"
            ));
            rates.push(rate);
            report.shares([shares]);
        }
    }
    let name = format!("events a second, {IN_HAND} slow commands in hand");
    report.add([
        Figure::new("commands", &name, median(with), Unit::PerSecond)
            .against(median(without))
            .goal(Goal::RatioAtLeast(0.97)),
    ]);
    Ok(())
}

/// Drains a queue of these events while so many commands wait for Stripe. Returns the events
/// a second, from when all of them wait.
async fn drained(stage: &Stage, events: &Events, commands: usize) -> Result<(f64, Shares)> {
    let database = stage.database().await?;
    drain::fill(stage, events).await?;
    stage.settle().await?;
    let api = StandIn::start(Options::default()).await?;
    let gate = Gate::new();
    let held = Kind::HeldBefore(gate.clone());
    api.fault(Fault::post("/v2/core/accounts", held).times(usize::MAX));
    let mut worker = stage.worker_with(&database, Keep::Bytes, &settings(&api))?;
    let pid = worker.process().pid();
    stage.until_commands(START_BOUND).await?;
    let caller = Caller::start(stage, commands).await?;
    let all_wait = async {
        for _ in 0..commands {
            gate.reached().await;
        }
    };
    let waited = tokio::time::timeout(START_BOUND, all_wait).await;
    waited.context("the commands did not come to Stripe")?;
    let all = events.range.end - events.range.start;
    let rest = all - all / SKIPPED;
    stage::until("the first events", OFTEN, START_BOUND, async || {
        let waiting = u64::from(stage.queue().await?.waiting);
        Ok((waiting > rest).then(|| format!("{waiting} wait")))
    })
    .await?;

    let clock = Clock::start(stage, &[("worker", pid)]);
    let begun = Instant::now();
    let measured = u64::from(stage.queue().await?.waiting);
    ensure!(measured > 0, "the queue was drained before it was measured");
    stage::until("the queue to be drained", OFTEN, DRAIN_BOUND, async || {
        let waiting = stage.queue().await?.waiting;
        Ok((waiting > 0).then(|| format!("{waiting} wait")))
    })
    .await?;
    let elapsed = begun.elapsed();
    let shares = clock.stop(format!("drain, {commands} commands in hand"));

    let answered = caller.stop();
    gate.release_all();
    ensure!(answered, "the caller lost the broker");
    worker.terminate().await?;
    stage.drop(database).await?;
    Ok((count(measured) / elapsed.as_secs_f64(), shares))
}

/// What a worker needs for commands that a stand-in for Stripe answers.
pub(crate) fn settings(api: &StandIn) -> [(&'static str, &str); 5] {
    [
        ("STRIPE_API_KEY", "sk_test_standin"),
        ("STRIPE_API_BASE", api.base_url()),
        ("STRIPE_RATE_LIMIT", NO_LIMIT),
        ("STRIPE_ENDPOINT_RATE_LIMIT", NO_LIMIT),
        ("REDIRECT_ORIGINS", ORIGIN),
    ]
}

/// A client that has as many commands in hand as it was told: it sends another for each answer,
/// since the worker gives up a command that takes too long.
struct Caller {
    task: AbortHandle,
}

impl Caller {
    async fn start(stage: &Stage, commands: usize) -> Result<Self> {
        let connection = rabbitmq::connect(&stage.servers.amqp_url()).await?;
        let channel = connection.create_channel().await?;
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let (tag, table) = (ShortString::default(), FieldTable::default());
        let answers = channel
            .basic_consume(REPLY_TO.into(), tag, options, table)
            .await?;
        for host in 0..commands {
            send(&channel, stage.commands_exchange(), host).await?;
        }
        let exchange = stage.commands_exchange().to_owned();
        let task = tokio::spawn(go_on(connection, channel, answers, exchange, commands));
        Ok(Self {
            task: task.abort_handle(),
        })
    }

    /// Ends it; whether it was still there.
    fn stop(self) -> bool {
        let was_there = !self.task.is_finished();
        self.task.abort();
        was_there
    }
}

async fn go_on(
    _connection: Connection,
    channel: Channel,
    mut answers: Consumer,
    exchange: String,
    mut next: usize,
) -> Result<()> {
    while let Some(answer) = answers.next().await {
        answer?;
        send(&channel, &exchange, next).await?;
        next += 1;
    }
    Ok(())
}

async fn send(channel: &Channel, exchange: &str, host: usize) -> Result<()> {
    let command = json!({
        "hostId": format!("host-{host}"), "email": "host@example.org", "country": "ES",
        "refreshUrl": format!("{ORIGIN}/again"), "returnUrl": format!("{ORIGIN}/done"),
    });
    let properties = BasicProperties::default()
        .with_reply_to(REPLY_TO.into())
        .with_correlation_id(host.to_string().into());
    channel
        .basic_publish(
            exchange.into(),
            "host.onboard".into(),
            BasicPublishOptions::default(),
            command.to_string().as_bytes(),
            properties,
        )
        .await?;
    Ok(())
}
