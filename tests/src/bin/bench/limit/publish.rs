//! Raw confirmed publishes: persistent and mandatory, by a way through the broker that the
//! job names.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::{try_join, try_join_all};
use harness::servers::rabbitmq;
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable},
};
use serde::{Deserialize, Serialize};

use crate::{
    child::Parent,
    events::{Event, Events, Stream},
    latency::{Latencies, Latency},
};

/// The job.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Publish {
    pub(crate) amqp_url: String,
    pub(crate) form: Form,
    pub(crate) events: Events,
    /// How many are published and not yet confirmed.
    pub(crate) in_flight: usize,
    /// The least time from one publish to the next of the same publisher.
    pub(crate) pace: Duration,
    pub(crate) until: Until,
}

/// Where a message is published to, and what stands beside its body.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Form {
    /// The default exchange where it is empty.
    pub(crate) exchange: String,
    /// The routing key of all; `None`: the type of each event.
    pub(crate) key: Option<String>,
    pub(crate) beside: Beside,
}

/// What stands beside a message's body.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) enum Beside {
    /// That it is persistent.
    Nothing,
    /// What `ingest` writes.
    AsIngest,
    /// What `ingest` wrote when what the body says was also said in headers.
    AsBefore,
}

/// When to stop.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) enum Until {
    /// All events are in the queue.
    All,
    /// The time is over.
    Time {
        warm_up: Duration,
        measure: Duration,
    },
}

/// What came of it.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Confirmed {
    pub(crate) count: usize,
    pub(crate) elapsed: Duration,
    pub(crate) latency: Latency,
}

impl Confirmed {
    /// Confirms in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }
}

impl Publish {
    pub(crate) async fn run(&self, parent: &mut Parent) -> Result<Confirmed> {
        let connection = rabbitmq::connect(&self.amqp_url).await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        let stream = Stream::of(&self.events);
        parent.ready()?;

        let (warm_up, measure) = match self.until {
            Until::All => (Duration::ZERO, None),
            Until::Time { warm_up, measure } => (warm_up, Some(measure)),
        };
        let shared = Shared {
            job: self,
            channel,
            stream,
            next: Cell::new(self.events.range.start),
            measuring: Cell::new(None),
            over: Cell::new(false),
        };
        let loops = async {
            let loops = (0..self.in_flight).map(|_| shared.publish());
            let latencies = try_join_all(loops).await?;
            Ok((latencies, Instant::now()))
        };
        let clock = async {
            tokio::time::sleep(warm_up).await;
            parent.begin();
            let start = Instant::now();
            shared.measuring.set(Some(start));
            if let Some(measure) = measure {
                tokio::time::sleep(measure).await;
                shared.over.set(true);
                parent.end();
            }
            Ok::<_, anyhow::Error>((start, Instant::now()))
        };
        let ((latencies, end_of_all), (start, end_of_time)) = try_join(loops, clock).await?;
        let end = match self.until {
            Until::All => {
                parent.end();
                end_of_all
            }
            Until::Time { .. } => {
                let left = shared.next.get() < self.events.range.end;
                ensure!(left, "there were not enough events to publish");
                end_of_time
            }
        };
        let mut all = Latencies::default();
        latencies.into_iter().for_each(|some| all.append(some));
        Ok(Confirmed {
            count: all.len(),
            elapsed: end - start,
            latency: all.summary(),
        })
    }
}

/// What the publishers share, all on one thread.
struct Shared<'a> {
    job: &'a Publish,
    channel: Channel,
    stream: Stream,
    next: Cell<u64>,
    measuring: Cell<Option<Instant>>,
    over: Cell<bool>,
}

impl Shared<'_> {
    /// Publishes one at a time.
    async fn publish(&self) -> Result<Latencies> {
        let mut latencies = Latencies::default();
        let mut body = Vec::new();
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        while !self.over.get() && self.next.get() < self.job.events.range.end {
            let event = self.stream.event(self.next.get());
            self.next.set(self.next.get() + 1);
            body.clear();
            self.stream.write_body(&event, &mut body);
            let form = &self.job.form;
            let key = form.key.as_deref().unwrap_or(event.kind.name());
            let properties = form.beside.properties(&self.stream, &event);
            let sent = Instant::now();
            let next = sent + self.job.pace;
            let confirm = self
                .channel
                .basic_publish(
                    form.exchange.as_str().into(),
                    key.into(),
                    options,
                    &body,
                    properties,
                )
                .await?;
            match confirm.await.context("a publish")? {
                Confirmation::Ack(None) => {}
                other => bail!("the broker answered {other:?}"),
            }
            let counts = match self.job.until {
                Until::All => true,
                Until::Time { .. } => self.measuring.get().is_some_and(|start| sent >= start),
            };
            if counts && !self.over.get() {
                latencies.push(sent.elapsed());
            }
            if !self.job.pace.is_zero() {
                tokio::time::sleep_until(next.into()).await;
            }
        }
        Ok(latencies)
    }
}

impl Beside {
    fn properties(self, stream: &Stream, event: &Event) -> BasicProperties {
        const PERSISTENT: u8 = 2;
        let bare = BasicProperties::default().with_delivery_mode(PERSISTENT);
        let text = |text: &str| AMQPValue::LongString(text.into());
        let mut headers = FieldTable::default();
        match self {
            Self::Nothing => return bare,
            Self::AsIngest => {}
            Self::AsBefore => {
                headers.insert("account".into(), text(&stream.account(event)));
                headers.insert("livemode".into(), AMQPValue::Boolean(false));
                headers.insert("api_version".into(), text("2025-09-30.clover"));
            }
        }
        let now = harness::stripe::now();
        headers.insert("received_at".into(), AMQPValue::LongLongInt(now * 1000));
        let trace = format!("00-{:032x}-00f067aa0ba902b7-01", event.number);
        headers.insert("traceparent".into(), text(&trace));
        bare.with_content_type("application/json".into())
            .with_message_id(stream.id(event).into())
            .with_type(event.kind.name().into())
            .with_timestamp(u64::try_from(now).unwrap_or_default())
            .with_headers(headers)
    }
}
