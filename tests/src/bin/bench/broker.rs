//! What the broker's way of a message costs, piece by piece: its processor time a publish, by
//! the kind of exchange, the queue's arguments, and what stands beside the body.

use std::time::Duration;

use anyhow::{Context as _, Result};
use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueuePurgeOptions},
    types::{AMQPValue, FieldTable},
};

use crate::{
    events::Kind,
    figures::{Figure, Unit, median},
    intake,
    limit::publish::{Beside, Form},
    plan::Plan,
    report::Report,
    stage::{self, Stage},
};

/// Publishes in flight.
const LEVELS: [usize; 2] = [512, 64];
/// Bindings of an exchange: about as many as the worker's queue has.
const BINDINGS: usize = 24;
/// A quorum queue without arguments of ours.
const PLAIN: &str = "bench.plain";

/// A way through the broker.
struct Way {
    name: &'static str,
    /// The default exchange where there is none.
    exchange: Option<ExchangeKind>,
    /// Whether the queue is the worker's, with its arguments.
    is_workers_queue: bool,
    beside: Beside,
}

/// From the least to what earlier releases used, and what `ingest` uses.
static WAYS: [Way; 8] = [
    way("default exchange", None, false, Beside::Nothing),
    way("+ the queue's arguments", None, true, Beside::Nothing),
    way(
        "+ properties and headers alone",
        None,
        false,
        Beside::AsIngest,
    ),
    way(
        "direct exchange alone",
        Some(ExchangeKind::Direct),
        false,
        Beside::Nothing,
    ),
    way(
        "topic exchange alone",
        Some(ExchangeKind::Topic),
        false,
        Beside::Nothing,
    ),
    way(
        "topic, arguments, properties, headers as before",
        Some(ExchangeKind::Topic),
        true,
        Beside::AsBefore,
    ),
    way(
        "direct, arguments, properties, headers as before",
        Some(ExchangeKind::Direct),
        true,
        Beside::AsBefore,
    ),
    way(
        "direct, arguments, properties, headers (ingest)",
        Some(ExchangeKind::Direct),
        true,
        Beside::AsIngest,
    ),
];

const fn way(
    name: &'static str,
    exchange: Option<ExchangeKind>,
    is_workers_queue: bool,
    beside: Beside,
) -> Way {
    Way {
        name,
        exchange,
        is_workers_queue,
        beside,
    }
}

/// Measures each way in turns; the medians count.
pub(crate) async fn measure(stage: &mut Stage, plan: &Plan, report: &mut Report) -> Result<()> {
    declare(&stage.channel).await?;
    for level in LEVELS {
        let mut costs = WAYS.each_ref().map(|_| Vec::new());
        for round in 1..=plan.broker_rounds {
            report.progress(&format!("broker: {level} in flight, round {round}"));
            for (way, costs) in WAYS.iter().zip(&mut costs) {
                costs.push(cost(stage, plan, way, level).await?);
            }
        }
        let costs = costs.map(median);
        let [least, ..] = costs;
        let figures = WAYS.iter().zip(costs).map(|(way, cost)| {
            let name = format!("{}, {level} in flight", way.name);
            Figure::new("broker", &name, cost, Unit::Microseconds).against(least)
        });
        report.add(figures);
    }
    Ok(())
}

/// The broker's processor time for a publish by this way, in microseconds.
async fn cost(stage: &mut Stage, plan: &Plan, way: &Way, in_flight: usize) -> Result<f64> {
    let queue = way.queue();
    let form = Form {
        exchange: way.exchange_name(),
        key: way.exchange.is_none().then(|| queue.clone()),
        beside: way.beside,
    };
    let (confirmed, shares) = intake::raw(stage, plan, form, in_flight, Duration::ZERO).await?;
    let purge = QueuePurgeOptions::default();
    stage.channel.queue_purge(queue.into(), purge).await?;
    let measured = confirmed.rate() * shares.seconds;
    Ok(shares.used_by("RabbitMQ") * 1e6 / measured)
}

impl Way {
    fn queue(&self) -> String {
        match self.is_workers_queue {
            true => stage::queue(),
            false => PLAIN.to_owned(),
        }
    }

    /// Each kind of exchange has one for each queue, so that a message is routed once.
    fn exchange_name(&self) -> String {
        let kind = match self.exchange {
            None => return String::new(),
            Some(ExchangeKind::Topic) => "topic",
            Some(_) => "direct",
        };
        format!("bench.{kind}.{}", self.queue())
    }
}

async fn declare(channel: &Channel) -> Result<()> {
    let mut arguments = FieldTable::default();
    let quorum = AMQPValue::LongString("quorum".into());
    arguments.insert("x-queue-type".into(), quorum);
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(PLAIN.into(), durable, arguments)
        .await?;
    for way in &WAYS {
        let Some(kind) = way.exchange.clone() else {
            continue;
        };
        let name = way.exchange_name();
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let none = FieldTable::default();
        channel
            .exchange_declare(name.as_str().into(), kind, durable, none)
            .await?;
        for key in keys() {
            let options = QueueBindOptions::default();
            let queue = way.queue().into();
            let none = FieldTable::default();
            channel
                .queue_bind(queue, name.as_str().into(), key.into(), options, none)
                .await
                .context("a binding")?;
        }
    }
    Ok(())
}

/// The types that are published, and others.
fn keys() -> impl Iterator<Item = String> {
    let published = Kind::ALL.iter().map(|kind| kind.name().to_owned());
    let others = (Kind::ALL.len()..BINDINGS).map(|number| format!("invoice.other_{number}"));
    published.chain(others)
}
