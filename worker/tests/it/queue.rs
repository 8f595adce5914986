//! The worker on its queue, with a real broker and a real database. Each event has
//! one effect, and one that cannot be settled now holds up no other.

use std::time::Duration;

use crate::support::{
    Lab,
    consuming::{Worker, until_acked, until_rows},
    migrated,
    payments::nth_paid,
    running::{BOUND, properties, publish, until},
};
use harness::tokio_postgres::Client;
use harness::{
    private::PrivateFolder,
    servers::{RabbitMq, RabbitMqOptions},
    stripe::Event,
    test_servers::TestBroker,
    wait::{self, Seen},
};
use lapin::{
    Confirmation,
    options::QueueDeclareOptions,
    types::{AMQPValue, FieldTable},
};

/// How many messages are in a queue, delivered or not.
async fn messages(node: &RabbitMq, queue: &str) -> usize {
    let columns = ["list_queues", "--silent", "name", "messages"];
    let listed = node.ctl(&columns).await.unwrap();
    let line = listed.lines().find_map(|line| line.strip_prefix(queue));
    line.and_then(|count| count.trim().parse().ok()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_a_queue_and_each_event_has_one_effect() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("share"));
    let start = || Worker::start(&broker, broker.url(), lab.worker_url()).consuming();
    let (one, two) = tokio::join!(start(), start());
    let events: Vec<Event> = (0..60).map(nth_paid).collect();
    for event in events.iter().chain(events.iter().rev()) {
        publish(&broker, event).await;
    }
    until_rows(&lab, 60).await;
    one.stop().await;
    // The last in the queue: with it, everything before it is done.
    publish(&broker, &nth_paid(60)).await;
    until_rows(&lab, 61).await;
    until_acked(&broker, two).await;
    let ledger = "SELECT outcome || ' ' || count(*) || ' ' || max(attempts) FROM stripe.event GROUP BY outcome";
    assert_eq!(lab.rows(ledger).await, ["applied 61 1"]);
    let traces = "SELECT DISTINCT trace_id || ' ' || extract(epoch FROM received_at)::text FROM stripe.event";
    assert_eq!(
        lab.rows(traces).await,
        ["0af7651916cd43dd8448eb211c80319c 1760000000.123000"]
    );
}

/// Earlier releases of ingest also wrote into headers what the body says.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_the_headers_of_an_earlier_release_is_understood() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("headers"));
    let worker = Worker::start(&broker, broker.url(), lab.worker_url())
        .consuming()
        .await;
    let event = nth_paid(0);
    let body = event.bytes();
    let properties = properties(&body);
    let mut headers = properties.headers().clone().unwrap();
    let text = |text: &str| AMQPValue::LongString(text.into());
    headers.insert("account".into(), text("acct_in_a_header"));
    headers.insert("livemode".into(), AMQPValue::Boolean(true));
    headers.insert("api_version".into(), text("2019-05-16"));
    let properties = properties.with_headers(headers);
    let sent = broker.publish(&event.kind, &body, properties).await;
    assert_eq!(sent.unwrap(), Confirmation::Ack(None));
    until_rows(&lab, 1).await;
    until_acked(&broker, worker).await;
    // The body is what Stripe signed.
    let said = "SELECT concat_ws(' ', outcome, account, livemode, api_version) FROM stripe.event";
    let account = event.account.as_deref().unwrap();
    let version = event.value()["api_version"].as_str().unwrap().to_owned();
    let expected = format!("applied {account} f {version}");
    assert_eq!(lab.rows(said).await, [expected]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_applied_is_a_dead_letter_with_its_bytes_and_its_reason() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("dead"));
    let worker = Worker::start(&broker, broker.url(), lab.worker_url())
        .consuming()
        .await;
    let mut wrong = nth_paid(1);
    wrong.object["metadata"]["dialoomBookingId"] = "seven".into();
    publish(&broker, &wrong).await;
    publish(&broker, &nth_paid(2)).await;
    until_rows(&lab, 1).await;
    // It is recorded in the transaction of its batch, and takes no way round.
    let letter = "SELECT body, reason, detail, origin, routing_key, properties::text, state \
        FROM stripe.dead_letter";
    let letter = lab.client.query_one(letter, &[]).await.unwrap();
    assert_eq!(letter.get::<_, Vec<u8>>(0), wrong.bytes());
    assert_eq!(letter.get::<_, String>(1), "invalid_booking_id");
    assert_eq!(
        letter.get::<_, String>(2),
        "The booking id in the metadata is not a positive integer."
    );
    assert_eq!(letter.get::<_, String>(3), "worker");
    assert_eq!(letter.get::<_, String>(4), "invoice.paid");
    let properties = letter.get::<_, String>(5);
    for property in [
        r#""message_id": "evt_1""#,
        r#""delivery_mode": 2"#,
        "1760000000123",
        "0af7651916cd43dd8448eb211c80319c",
    ] {
        assert!(properties.contains(property), "{property}: {properties}");
    }
    assert_eq!(letter.get::<_, String>(6), "dead");
    assert_eq!(lab.ledger("evt_1").await.unwrap().0, "dead");
    until_acked(&broker, worker).await;
}

/// A worker that has made the first row, and somebody who holds it until the end
/// of a transaction.
async fn held(lab: &Lab, broker: &TestBroker) -> (Worker, Client) {
    let worker = Worker::start(broker, broker.url(), lab.worker_url())
        .consuming()
        .await;
    publish(broker, &nth_paid(0)).await;
    until_rows(lab, 1).await;
    let holder = lab.database.connect().await.unwrap();
    holder.batch_execute("BEGIN").await.unwrap();
    let query = r#"SELECT 1 FROM "Invoice" WHERE "bookingId" = 1 FOR UPDATE"#;
    assert_eq!(holder.execute(query, &[]).await.unwrap(), 1);
    (worker, holder)
}

/// A row that somebody holds delays itself alone: its events are applied, and so is
/// everything else.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_row_that_somebody_holds_are_applied_and_the_row_follows() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("hold"));
    let (worker, holder) = held(&lab, &broker).await;
    for number in 0..6 {
        let mut changed = nth_paid(0);
        changed.id = format!("evt_change_{number}");
        changed.object["total"] = (1000 + number).into();
        changed.created += 10 + number;
        publish(&broker, &changed).await;
    }
    for index in 1..8 {
        publish(&broker, &nth_paid(index)).await;
    }
    until_rows(&lab, 8).await;
    let changes = "SELECT count(*)::text FROM stripe.event WHERE id LIKE 'evt_change_%'";
    until(&lab.client, changes, "6").await;
    let pending = "SELECT concat_ws(' ', kind, id, object_id, reason) \
        FROM stripe.pending_projection";
    until(&lab.client, pending, "booking 1 in_0 locked").await;
    let known = "SELECT total::text FROM stripe.invoice WHERE id = 'in_0'";
    assert_eq!(lab.rows(known).await, ["1005"]);
    holder.batch_execute("COMMIT").await.unwrap();

    lab.project_pending().await;
    let shown = r#"SELECT trim_scale("amount")::text FROM "Invoice" WHERE "bookingId" = 1"#;
    assert_eq!(lab.rows(shown).await, ["10.05"]);
    assert_eq!(lab.pending().await, Vec::<String>::new());
    until_acked(&broker, worker).await;
}

/// A broker that is short of memory takes no message. A dead letter needs none: it is
/// recorded, and its event is acked like all others.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_takes_no_message_still_gives_events_and_takes_acks() {
    let folder = PrivateFolder::make("worker-alarm").unwrap();
    let node = RabbitMq::start(folder.path(), RabbitMqOptions::default());
    let node = node.await.unwrap();
    let (lab, broker) = (Lab::new().await, TestBroker::on(&node.url(), "alarm"));
    let mut worker = Worker::start(&broker, broker.url(), lab.worker_url())
        .consuming()
        .await;
    worker.stop().await;
    for index in 0..5 {
        let mut event = nth_paid(index);
        if index == 2 {
            event.object["metadata"]["dialoomBookingId"] = "no booking".into();
        }
        publish(&broker, &event).await;
    }
    let set = ["set_vm_memory_high_watermark", "0.0000001"];
    node.ctl(&set).await.unwrap();
    worker = Worker::start(&broker, broker.url(), lab.worker_url());
    until_rows(&lab, 4).await;
    let queue = broker.worker_queue();
    wait::until("all acked", BOUND, async || {
        match messages(&node, &queue).await {
            0 => Seen::Reached(()),
            left => Seen::NotYet(format!("{left} are not acked")),
        }
    })
    .await
    .unwrap();
    let letters = "SELECT id || ' ' || reason FROM stripe.dead_letter";
    assert_eq!(lab.rows(letters).await, ["evt_2 invalid_booking_id"]);
    let stopped = tokio::time::timeout(Duration::from_secs(15), worker.stop());
    stopped
        .await
        .expect("it stops while the broker takes nothing");
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
