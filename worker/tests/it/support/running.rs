//! A worker that runs in this process: it consumes events and keeps dead letters.

use std::time::Duration;

use domain::{
    event::{self as events, Event as Decoded, Rejected},
    rules::Rules,
};
use event::Envelope;
use harness::{
    stripe::Event,
    test_servers::TestBroker,
    wait::{self, Seen},
};
use lapin::{
    BasicProperties, Confirmation,
    options::QueueDeclareOptions,
    types::{AMQPValue, FieldTable},
};
use shared::{
    amqp::AmqpUrl,
    message,
    topology::{Names, Role},
};
use store::{Database, archive_page::ArchivePolicy};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use worker::{
    amqp::consumer::Queue,
    dead_letters::recorder::{self, DeadLetterRecorder},
    health::Health,
    metrics::Metrics,
    pipeline::{
        consumer::{self, Consumer},
        delivery::Decoder,
        executor::BatchExecutor,
    },
};

use super::rules;

/// Bound for whatever is waited for.
pub const BOUND: Duration = Duration::from_secs(60);

/// All dead letters, as `until` waits for them.
pub const LETTERS: &str = "SELECT id || ' ' || reason || ' ' || state || ' ' || attempts \
    FROM stripe.dead_letter ORDER BY id";

/// How a worker differs from the usual one.
pub struct Options {
    pub decode: fn(&[u8], &Rules) -> Result<Decoded, Rejected>,
    pub booking_key: &'static str,
    pub owner_query: Option<&'static str>,
    pub archive: ArchivePolicy,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            decode: events::decode,
            booking_key: "dialoomBookingId",
            owner_query: None,
            archive: ArchivePolicy::Compressed,
        }
    }
}

/// A running worker.
pub struct Running {
    pub metrics: Metrics,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Running {
    pub async fn start(broker: &TestBroker, database_url: &str) -> Self {
        Self::with(broker, broker.url(), database_url, Options::default()).await
    }

    pub async fn with(
        broker: &TestBroker,
        amqp_url: &str,
        database_url: &str,
        options: Options,
    ) -> Self {
        let (stop, health, tasks) = (
            CancellationToken::new(),
            Health::default(),
            TaskTracker::new(),
        );
        let amqp = AmqpUrl::parse(amqp_url).unwrap();
        let names = Names::new(broker.prefix()).unwrap();
        let pool = Database::parse(database_url).unwrap().pool();
        let mut rules = rules();
        rules.booking_key = options.booking_key.into();
        let metrics = Metrics::default();
        let queue = |name, prefetch| Queue {
            amqp: amqp.clone(),
            names: names.clone(),
            name,
            connection: "test",
            prefetch,
            role: Role::Consumer,
        };
        let recorder = DeadLetterRecorder {
            queue: queue(names.dead_queue.clone(), recorder::PREFETCH),
            pool: pool.clone(),
            metrics: metrics.clone(),
        };
        let owner_query = options.owner_query.map(str::to_owned);
        let consumer = Consumer {
            queue: queue(names.worker.clone(), consumer::PREFETCH),
            decoder: Decoder {
                rules,
                decode: options.decode,
            },
            executor: BatchExecutor::new(pool, owner_query, options.archive),
            metrics: metrics.clone(),
            health: health.clone(),
        };
        let token = stop.clone();
        tasks.spawn(async move { recorder.run(&token).await });
        let token = stop.clone();
        tasks.spawn(async move { consumer.run(&token).await.unwrap() });
        wait::until("a consuming worker", BOUND, async || {
            match health.is_consuming() {
                true => Seen::Reached(()),
                false => Seen::NotYet("not consuming".into()),
            }
        })
        .await
        .unwrap();
        Self {
            metrics,
            stop,
            tasks,
        }
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The properties that ingest gives to these bytes.
pub fn properties(body: &[u8]) -> BasicProperties {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    match Envelope::read(body) {
        Ok(envelope) => message::properties(&envelope, 1_760_000_000_123, Some(parent)),
        Err(_) => BasicProperties::default().with_delivery_mode(2),
    }
}

/// Publishes bytes as ingest does.
pub async fn publish_bytes(broker: &TestBroker, kind: &str, body: &[u8]) {
    let confirmation = broker.publish(kind, body, properties(body)).await;
    assert_eq!(confirmation.unwrap(), Confirmation::Ack(None));
}

/// Publishes an event as ingest does.
pub async fn publish(broker: &TestBroker, event: &Event) {
    publish_bytes(broker, &event.kind, &event.bytes()).await;
}

/// Declares exchanges and queues, so that something can be published before a
/// worker runs.
pub async fn declare(broker: &TestBroker) {
    let connection = harness::servers::rabbitmq::connect(broker.url())
        .await
        .unwrap();
    let names = Names::new(broker.prefix()).unwrap();
    shared::topology::declare(&connection, &names, Role::Consumer)
        .await
        .unwrap();
}

/// Makes the worker's queue as an earlier release did, with a delivery limit, so that the broker
/// gives a message up that was returned so often.
pub async fn declare_with_limit(broker: &TestBroker, limit: i32) {
    let connection = harness::servers::rabbitmq::connect(broker.url())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let text = |value: &str| AMQPValue::LongString(value.into());
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-dead-letter-exchange".into(), text(&broker.dead()));
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(limit));
    let (queue, options) = (broker.worker_queue(), QueueDeclareOptions::durable());
    let declared = channel.queue_declare(queue.into(), options, arguments);
    declared.await.unwrap();
    declare(broker).await;
}

/// Waits until a query's rows, joined by "; ", read so.
pub async fn until(client: &harness::tokio_postgres::Client, query: &str, expected: &str) {
    wait::until(expected, BOUND, async || {
        let rows = client.query(query, &[]).await.unwrap();
        let texts: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        match texts.join("; ") {
            seen if seen == expected => Seen::Reached(()),
            seen => Seen::NotYet(seen),
        }
    })
    .await
    .unwrap();
}
