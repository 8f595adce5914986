//! The worker on its queue: real broker, real database, and what breaks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use harness::{
    private::PrivateFolder,
    proxy::Proxy,
    servers::{
        RabbitMq, RabbitMqOptions,
        postgres::{Postgres, PostgresOptions},
    },
    stripe::{Event, Invoice},
    test_servers::{TestBroker, TestDatabase},
    wait::{self, Seen},
};
use lapin::{
    BasicProperties, Confirmation,
    options::{QueueDeclareOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable},
};
use shared::{amqp::AmqpUrl, envelope::Envelope, message, topology::Names};
use support::{Lab, migrated, rules};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::{
    consume::Consume, gather::Reading, health::Health, keep::Keep, metrics::Metrics,
    settle::Settler, store::connect::Database,
};

const BOUND: Duration = Duration::from_secs(30);

/// A worker that consumes in this process.
struct Worker {
    stop: CancellationToken,
    health: Health,
    task: JoinHandle<Result<(), String>>,
}

impl Worker {
    fn start(broker: &TestBroker, amqp_url: &str, database_url: &str) -> Self {
        let (stop, health) = (CancellationToken::new(), Health::default());
        let consume = Consume {
            amqp: AmqpUrl::parse(amqp_url).unwrap(),
            names: Names::new(broker.prefix()).unwrap(),
            reading: Reading {
                rules: rules(),
                reader: worker::events::read,
            },
            settler: Settler::new(
                Database::parse(database_url).unwrap().pool(),
                None,
                Keep::Compressed,
            ),
            metrics: Metrics::default(),
            health: health.clone(),
        };
        let token = stop.clone();
        let task = tokio::spawn(async move {
            let ended = consume.run(&token).await;
            ended.map_err(|error| shared::telemetry::report(&error))
        });
        Self { stop, health, task }
    }

    async fn consuming(self) -> Self {
        wait::until("a consuming worker", BOUND, async || {
            match (self.health.is_consuming(), self.task.is_finished()) {
                (true, _) => Seen::Reached(()),
                (false, true) => Seen::Never("it ended".into()),
                (false, false) => Seen::NotYet("not consuming".into()),
            }
        })
        .await
        .unwrap();
        self
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn paid(index: usize) -> Event {
    let object = Invoice {
        id: format!("in_{index}"),
        booking: Some((index + 1).to_string()),
        ..Invoice::default()
    };
    Event::new(&format!("evt_{index}"), "invoice.paid", object.value()).of_account("acct_a")
}

fn properties(body: &[u8]) -> BasicProperties {
    let envelope = Envelope::read(body).unwrap();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    message::properties(&envelope, 1_760_000_000_123, Some(parent))
}

async fn publish(broker: &TestBroker, event: &Event) {
    let body = event.bytes();
    let confirmation = broker.publish(&event.kind, &body, properties(&body)).await;
    assert_eq!(confirmation.unwrap(), Confirmation::Ack(None));
}

async fn until_rows(lab: &Lab, count: usize) {
    wait::until(format!("{count} rows"), BOUND, async || {
        match lab.invoices().await.len() {
            rows if rows == count => Seen::Reached(()),
            rows => Seen::NotYet(format!("{rows} rows")),
        }
    })
    .await
    .unwrap();
}

/// How many messages are in a queue, delivered or not.
async fn messages(node: &RabbitMq, queue: &str) -> usize {
    let columns = ["list_queues", "--silent", "name", "messages"];
    let listed = node.ctl(&columns).await.unwrap();
    let line = listed.lines().find_map(|line| line.strip_prefix(queue));
    line.and_then(|count| count.trim().parse().ok()).unwrap()
}

async fn until_acked(broker: &TestBroker, worker: Worker) {
    // What was not acked is back in the queue once its consumer is gone.
    worker.stop().await;
    let (queue, dead) = (broker.worker_queue(), broker.dead());
    assert_eq!(broker.depth(&queue).await.unwrap(), 0, "left in the queue");
    assert_eq!(broker.depth(&dead).await.unwrap(), 0, "dead letters");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_a_queue_and_each_event_has_one_effect() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("share"));
    let start = || Worker::start(&broker, broker.url(), lab.worker_url()).consuming();
    let (one, two) = tokio::join!(start(), start());
    let events: Vec<Event> = (0..60).map(paid).collect();
    for event in events.iter().chain(events.iter().rev()) {
        publish(&broker, event).await;
    }
    until_rows(&lab, 60).await;
    one.stop().await;
    until_acked(&broker, two).await;
    let ledger = "SELECT outcome || ' ' || count(*) || ' ' || max(attempts) FROM stripe.event GROUP BY outcome";
    assert_eq!(lab.rows(ledger).await, ["applied 60 1"]);
    let traces = "SELECT DISTINCT trace_id || ' ' || extract(epoch FROM received_at)::text FROM stripe.event";
    assert_eq!(
        lab.rows(traces).await,
        ["0af7651916cd43dd8448eb211c80319c 1760000000.123000"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_applied_is_a_dead_letter_with_its_bytes_and_its_reason() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("dead"));
    let worker = Worker::start(&broker, broker.url(), lab.worker_url())
        .consuming()
        .await;
    let mut wrong = paid(1);
    wrong.object["metadata"]["bookingId"] = "seven".into();
    publish(&broker, &wrong).await;
    publish(&broker, &paid(2)).await;
    until_rows(&lab, 1).await;
    broker.until_depth(&broker.dead(), 1, BOUND).await.unwrap();
    let letter = broker.take_all(&broker.dead()).await.unwrap().remove(0);
    assert_eq!(letter.data, wrong.bytes());
    let kept = &letter.properties;
    assert_eq!(kept.message_id().as_ref().unwrap().as_str(), "evt_1");
    assert_eq!(*kept.delivery_mode(), Some(2));
    let headers = kept.headers().as_ref().unwrap().inner();
    let text = |name: &str| match &headers[name] {
        AMQPValue::LongString(text) => text.to_string(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(text("dead_reason"), "invalid_booking_id");
    assert_eq!(
        text("dead_detail"),
        "The booking id in the metadata is not a positive integer."
    );
    assert_eq!(text("account"), "acct_a");
    assert_eq!(lab.ledger("evt_1").await.unwrap().0, "dead");
    until_acked(&broker, worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_holds_delays_its_own_event_only() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("hold"));
    let worker = Worker::start(&broker, broker.url(), lab.worker_url())
        .consuming()
        .await;
    publish(&broker, &paid(0)).await;
    until_rows(&lab, 1).await;
    let mut client = lab.database.connect().await.unwrap();
    let holding = client.transaction().await.unwrap();
    let query = r#"SELECT 1 FROM "Invoice" WHERE "bookingId" = 1 FOR UPDATE"#;
    holding.execute(query, &[]).await.unwrap();

    let mut voided = paid(0);
    (voided.id, voided.kind) = ("evt_void".into(), "invoice.voided".into());
    voided.object["status"] = "void".into();
    voided.created += 10;
    publish(&broker, &voided).await;
    for index in 1..5 {
        publish(&broker, &paid(index)).await;
    }
    until_rows(&lab, 5).await;
    assert_eq!(lab.ledger("evt_void").await, None);
    holding.commit().await.unwrap();
    until_rows(&lab, 4).await;
    until_acked(&broker, worker).await;
}

/// A try takes half a second of everybody's time, so the events that wait for a
/// row must not take turns with nobody but each other.
#[tokio::test(flavor = "multi_thread")]
async fn many_events_of_one_held_row_do_not_stop_the_queue() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("held"));
    let worker = Worker::start(&broker, broker.url(), lab.worker_url())
        .consuming()
        .await;
    publish(&broker, &paid(0)).await;
    until_rows(&lab, 1).await;
    let mut client = lab.database.connect().await.unwrap();
    let holding = client.transaction().await.unwrap();
    let query = r#"SELECT 1 FROM "Invoice" WHERE "bookingId" = 1 FOR UPDATE"#;
    holding.execute(query, &[]).await.unwrap();

    for number in 0..6 {
        let mut changed = paid(0);
        changed.id = format!("evt_change_{number}");
        changed.object["total"] = (1000 + number).into();
        changed.created += 10 + number;
        publish(&broker, &changed).await;
    }
    // One by one: each is a unit of its own, and comes between two tries.
    for index in 1..8 {
        publish(&broker, &paid(index)).await;
        until_rows(&lab, index + 1).await;
    }
    assert_eq!(lab.ledger("evt_change_0").await, None);
    holding.commit().await.unwrap();
    let changes = "SELECT count(*)::text FROM stripe.event WHERE id LIKE 'evt_change_%'";
    let last = "SELECT total::text FROM stripe.invoice WHERE id = 'in_0'";
    // Each is tried again after its own pause, half a minute at most.
    wait::until("all changes", 2 * BOUND, async || {
        match (lab.rows(changes).await, lab.rows(last).await) {
            (all, last) if all == ["6"] && last == ["1005"] => Seen::Reached(()),
            other => Seen::NotYet(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    until_acked(&broker, worker).await;
}

/// A broker that is short of memory takes no dead letter. Nothing but that one
/// event may wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_takes_no_dead_letter_still_gives_events_and_takes_acks() {
    let folder = PrivateFolder::make("worker-alarm").unwrap();
    let node = RabbitMq::start(folder.path(), RabbitMqOptions::default());
    let node = node.await.unwrap();
    let (lab, broker) = (Lab::new().await, TestBroker::on(&node.url(), "alarm"));
    let mut worker = Worker::start(&broker, broker.url(), lab.worker_url())
        .consuming()
        .await;
    worker.stop().await;
    for index in 0..5 {
        let mut event = paid(index);
        if index == 2 {
            event.object["metadata"]["bookingId"] = "no booking".into();
        }
        publish(&broker, &event).await;
    }
    let set = ["set_vm_memory_high_watermark", "0.0000001"];
    node.ctl(&set).await.unwrap();
    worker = Worker::start(&broker, broker.url(), lab.worker_url());
    until_rows(&lab, 4).await;
    let queue = broker.worker_queue();
    wait::until("all others acked", BOUND, async || {
        match messages(&node, &queue).await {
            1 => Seen::Reached(()),
            left => Seen::NotYet(format!("{left} are not acked")),
        }
    })
    .await
    .unwrap();
    let stopped = tokio::time::timeout(Duration::from_secs(15), worker.stop());
    stopped
        .await
        .expect("it stops while the broker takes nothing");
    node.ctl(&["set_vm_memory_high_watermark", "0.6"])
        .await
        .unwrap();
    worker = Worker::start(&broker, broker.url(), lab.worker_url());
    wait::until("the dead letter", 2 * BOUND, async || {
        let left = messages(&node, &queue).await;
        match (left, broker.depth(&broker.dead()).await) {
            // Two where the broker had heard the first try after all.
            (0, Ok(1..)) => Seen::Reached(()),
            other => Seen::NotYet(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_committed_but_not_acked_comes_again_without_effect() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("ack"));
    let proxy = Proxy::before(broker.url(), 5672).await.unwrap();
    let worker = Worker::start(&broker, proxy.url(), lab.worker_url())
        .consuming()
        .await;
    proxy.stall_client();
    publish(&broker, &paid(0)).await;
    until_rows(&lab, 1).await;
    let state = lab.state().await;
    proxy.cut();
    worker.stop.cancel();
    let _ = worker.task.await;

    let worker = Worker::start(&broker, broker.url(), lab.worker_url())
        .consuming()
        .await;
    publish(&broker, &paid(1)).await;
    until_rows(&lab, 2).await;
    until_acked(&broker, worker).await;
    assert_eq!(lab.ledger("evt_0").await.unwrap().2, 1);
    assert!(lab.state().await.contains(&state[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_and_a_deleted_queue_are_healed() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("heal"));
    let proxy = Proxy::before(broker.url(), 5672).await.unwrap();
    let worker = Worker::start(&broker, proxy.url(), lab.worker_url())
        .consuming()
        .await;
    proxy.cut();
    publish(&broker, &paid(0)).await;
    proxy.restore();
    until_rows(&lab, 1).await;

    let connection = harness::servers::rabbitmq::connect(broker.url())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let queue = broker.worker_queue();
    let options = QueueDeleteOptions::default();
    channel
        .queue_delete(queue.as_str().into(), options)
        .await
        .unwrap();
    // The worker makes it again.
    wait::until("the queue", BOUND, async || {
        match broker.depth(&queue).await {
            Ok(_) => Seen::Reached(()),
            Err(error) => Seen::NotYet(format!("{error:#}")),
        }
    })
    .await
    .unwrap();
    let again = wait::until("a routed event", BOUND, async || {
        let body = paid(1).bytes();
        match broker
            .publish("invoice.paid", &body, properties(&body))
            .await
        {
            Ok(Confirmation::Ack(None)) => Seen::Reached(()),
            other => Seen::NotYet(format!("{other:?}")),
        }
    });
    again.await.unwrap();
    until_rows(&lab, 2).await;
    until_acked(&broker, worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_the_queue_holds_everything() {
    let folder = PrivateFolder::make("away").unwrap();
    let options = PostgresOptions {
        durability: harness::servers::Durability::Fast,
        ..PostgresOptions::default()
    };
    let mut postgres = Postgres::start(folder.path(), options).await.unwrap();
    let database = TestDatabase::empty_on(&postgres.url(), "away")
        .await
        .unwrap();
    let connection = Database::parse(database.url()).unwrap().connect().await;
    worker::store::migrate::up(connection.unwrap())
        .await
        .unwrap();
    let broker = TestBroker::new("away");
    let worker = Worker::start(&broker, broker.url(), database.url())
        .consuming()
        .await;
    publish(&broker, &paid(0)).await;

    postgres.kill();
    for index in 1..4 {
        publish(&broker, &paid(index)).await;
    }
    postgres.start_again().await.unwrap();
    let lab = Lab::on(database).await;
    until_rows(&lab, 4).await;
    until_acked(&broker, worker).await;
    let attempts = "SELECT DISTINCT outcome || attempts FROM stripe.event";
    assert_eq!(lab.rows(attempts).await, ["applied1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_the_database_is_away_gives_everything_back() {
    let database = migrated().await;
    let proxy = Proxy::before(database.url(), 5432).await.unwrap();
    let broker = TestBroker::new("stop");
    let worker = Worker::start(&broker, broker.url(), proxy.url())
        .consuming()
        .await;
    proxy.cut();
    publish(&broker, &paid(0)).await;
    let queue = broker.worker_queue();
    broker.until_depth(&queue, 0, BOUND).await.unwrap();
    worker.stop().await;
    broker.until_depth(&queue, 1, BOUND).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topology_that_differs_is_an_error_that_names_the_difference() {
    let broker = TestBroker::new("misfit");
    let database = migrated().await;
    let connection = harness::servers::rabbitmq::connect(broker.url())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel
        .queue_declare(
            broker.worker_queue().into(),
            QueueDeclareOptions::durable(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let worker = Worker::start(&broker, broker.url(), database.url());
    let error = worker.task.await.unwrap().unwrap_err();
    assert!(
        error.contains("x-queue-type") && error.contains(&broker.worker_queue()),
        "{error}"
    );
    drop(connection);
}
