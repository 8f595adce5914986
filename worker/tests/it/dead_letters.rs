//! For each reason, a real event that ends among the dead letters, is found there
//! by the command, and is sent again after its cause was put right. It is applied
//! once.

use crate::support::{
    Lab,
    claims::{OWNER_QUERY, book, with_owners},
    operator::Operator,
    payments::paid,
    running::{LETTERS, Options, Running, declare, declare_with_limit, properties, publish, until},
};
use domain::{
    event::{self as events, Rejected},
    rejection::Rejection,
    rules::Rules,
};
use harness::test_servers::TestBroker;
use lapin::{
    options::{
        BasicGetOptions, BasicPublishOptions, BasicRejectOptions, QueueDeclareOptions,
        QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde_json::{Value, json};

/// The dead letter is found by its reason, and sent again with success: it was
/// applied once.
async fn replayed_and_applied(lab: &Lab, operator: &Operator, id: &str, reason: &str) {
    let listed = operator
        .run(&format!("dead-letters list --reason {reason} --json"))
        .await
        .well();
    let ids: Vec<Value> = listed
        .objects()
        .iter()
        .map(|one| one["id"].clone())
        .collect();
    assert_eq!(ids, [json!(id)], "{}", listed.err);
    let shown = operator
        .run(&format!("dead-letters show {id}"))
        .await
        .well();
    assert!(shown.out.contains(reason), "{}", shown.out);

    let replayed = operator
        .run(&format!("dead-letters replay {id} --follow --yes --json"))
        .await
        .well();
    let [run, outcome] = &replayed.objects()[..] else {
        panic!("{}", replayed.out);
    };
    assert_eq!(run["published"], 1);
    assert_eq!(outcome["outcome"], "applied");
    until(
        &lab.client,
        &format!("SELECT state || ' ' || replay_id FROM stripe.dead_letter WHERE id = '{id}'"),
        &format!("resolved {}", run["replay"]),
    )
    .await;
    let (outcome, why, attempts) = lab.ledger(id).await.unwrap();
    assert_eq!((outcome.as_str(), why), ("applied", None));
    assert!(attempts <= 2, "{attempts}");
    assert_eq!(lab.invoices().await.len(), 1, "one effect");

    // Once more does no harm.
    let again = operator
        .run(&format!("dead-letters replay {id} --yes"))
        .await
        .well();
    assert!(again.err.contains("resolved"), "{}", again.err);
    assert_eq!(lab.ledger(id).await.unwrap().2, attempts);
}

/// The event is dead for its claim; the booking's account is put right.
async fn refused_and_put_right(lab: &Lab, broker: &TestBroker) {
    until(
        &lab.client,
        LETTERS,
        "evt_1 booking_claimed_by_other_account dead 1",
    )
    .await;
    lab.client
        .batch_execute(r#"UPDATE "Booking" SET "account" = 'acct_a'"#)
        .await
        .unwrap();
    let operator = Operator::new(lab.worker_url(), broker);
    replayed_and_applied(lab, &operator, "evt_1", "booking_claimed_by_other_account").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_of_another_account() {
    let (lab, broker) = (Lab::with_bookings(&[7]).await, TestBroker::new("claimed"));
    lab.client
        .batch_execute(r#"ALTER TABLE "Booking" ADD "account" text; UPDATE "Booking" SET "account" = 'acct_b'"#)
        .await
        .unwrap();
    let options = Options {
        owner_query: Some(OWNER_QUERY),
        ..Options::default()
    };
    let worker = Running::with(&broker, broker.url(), lab.worker_url(), options).await;
    publish(&broker, &paid("1", "7")).await;
    refused_and_put_right(&lab, &broker).await;
    worker.stop().await;
}

/// It waits until the main app has the booking, and is refused then.
#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_turns_out_to_be_another_accounts() {
    let (lab, broker) = (with_owners().await, TestBroker::new("late"));
    let options = Options {
        owner_query: Some(OWNER_QUERY),
        ..Options::default()
    };
    let worker = Running::with(&broker, broker.url(), lab.worker_url(), options).await;
    publish(&broker, &paid("1", "7")).await;
    let waiting = "SELECT waiting FROM stripe.invoice";
    until(&lab.client, waiting, "owner_unknown").await;
    book(&lab, "acct_b").await;
    refused_and_put_right(&lab, &broker).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_the_database_refuses() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("refused"));
    lab.client
        .batch_execute("ALTER TABLE stripe.invoice ADD CONSTRAINT cheap CHECK (total < 1000)")
        .await
        .unwrap();
    let worker = Running::start(&broker, lab.worker_url()).await;
    publish(&broker, &paid("1", "7")).await;
    until(&lab.client, LETTERS, "evt_1 refused_by_database dead 1").await;
    lab.client
        .batch_execute("ALTER TABLE stripe.invoice DROP CONSTRAINT cheap")
        .await
        .unwrap();
    let operator = Operator::new(lab.worker_url(), &broker);
    replayed_and_applied(&lab, &operator, "evt_1", "refused_by_database").await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_metadata_key() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("key"));
    let mut event = paid("1", "7");
    event.object["metadata"]["order"] = "A-7".into();
    let options = Options {
        booking_key: "order",
        ..Options::default()
    };
    let worker = Running::with(&broker, broker.url(), lab.worker_url(), options).await;
    publish(&broker, &event).await;
    until(&lab.client, LETTERS, "evt_1 invalid_booking_id dead 1").await;
    worker.stop().await;
    let worker = Running::start(&broker, lab.worker_url()).await;
    let operator = Operator::new(lab.worker_url(), &broker);
    replayed_and_applied(&lab, &operator, "evt_1", "invalid_booking_id").await;
    worker.stop().await;
}

/// A release that does not know a status yet.
fn old_release(body: &[u8], rules: &Rules) -> Result<events::Event, Rejected> {
    let read = events::decode(body, rules)?;
    Err(Rejected {
        header: Some(Box::new(read.header)),
        rejection: Rejection::UnknownStatus {
            field: "invoice.status",
        },
    })
}

/// How a release decodes.
type Decode = fn(&[u8], &Rules) -> Result<events::Event, Rejected>;

/// A release whose handler crashes.
fn crashing_release(_body: &[u8], _rules: &Rules) -> Result<events::Event, Rejected> {
    panic!("on purpose")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_with_a_mistake_and_one_that_crashes() {
    for (decode, limit, reason) in [
        (old_release as Decode, 20, "unknown_status"),
        (crashing_release, 20, "crashes_worker"),
        // The broker is the first to give it up.
        (crashing_release, 1, "delivery_limit"),
    ] {
        let (lab, broker) = (Lab::new().await, TestBroker::new("mistake"));
        declare_with_limit(&broker, limit).await;
        let options = Options {
            decode,
            ..Options::default()
        };
        let worker = Running::with(&broker, broker.url(), lab.worker_url(), options).await;
        publish(&broker, &paid("1", "7")).await;
        until(&lab.client, LETTERS, &format!("evt_1 {reason} dead 1")).await;
        assert_eq!(lab.ledger("evt_1").await.unwrap().0, "dead");
        worker.stop().await;
        let worker = Running::start(&broker, lab.worker_url()).await;
        let operator = Operator::new(lab.worker_url(), &broker);
        replayed_and_applied(&lab, &operator, "evt_1", reason).await;
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_gives_up() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("broker"));
    declare(&broker).await;
    // Another consumer rejects one, another one is too old.
    publish(&broker, &paid("1", "7")).await;
    let connection = harness::servers::rabbitmq::connect(broker.url())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let queue = broker.worker_queue();
    let got = channel
        .basic_get(queue.into(), BasicGetOptions::default())
        .await;
    let rejected = got.unwrap().unwrap();
    rejected
        .delivery
        .reject(BasicRejectOptions { requeue: false })
        .await
        .unwrap();
    let mut old = paid("2", "7");
    old.object["id"] = "in_1".into();
    let body = old.bytes();
    let short = properties(&body).with_expiration("1".into());
    broker.publish("invoice.paid", &body, short).await.unwrap();
    broker
        .until_depth(&broker.dead(), 2, crate::support::running::BOUND)
        .await
        .unwrap();

    let worker = Running::start(&broker, lab.worker_url()).await;
    until(
        &lab.client,
        LETTERS,
        "evt_1 rejected dead 1; evt_2 expired dead 1",
    )
    .await;
    let operator = Operator::new(lab.worker_url(), &broker);
    replayed_and_applied(&lab, &operator, "evt_1", "rejected").await;
    let expired = operator
        .run("dead-letters replay evt_2 --yes --follow --json")
        .await
        .well();
    assert_eq!(
        expired.objects()[1]["outcome"],
        "applied",
        "{}",
        expired.out
    );
    worker.stop().await;
}

/// Somebody's own queue with a bound, whose overflow goes to our dead letters.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_queue_gives_up() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("maxlen"));
    declare(&broker).await;
    let connection = harness::servers::rabbitmq::connect(broker.url())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let queue = format!("{}.shadow", broker.prefix());
    let mut arguments = FieldTable::default();
    let text = |text: &str| AMQPValue::LongString(text.into());
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(1));
    arguments.insert("x-dead-letter-exchange".into(), text(&broker.dead()));
    arguments.insert("x-dead-letter-routing-key".into(), text("invoice.paid"));
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.as_str().into(), options, arguments)
        .await
        .unwrap();
    for id in ["1", "2"] {
        let body = paid(id, "7").bytes();
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish(
            "".into(),
            queue.as_str().into(),
            options,
            &body,
            properties(&body),
        );
        sent.await.unwrap();
    }
    let worker = Running::start(&broker, lab.worker_url()).await;
    until(&lab.client, LETTERS, "evt_1 maxlen dead 1").await;
    let operator = Operator::new(lab.worker_url(), &broker);
    replayed_and_applied(&lab, &operator, "evt_1", "maxlen").await;
    worker.stop().await;
    channel
        .queue_delete(queue.into(), QueueDeleteOptions::default())
        .await
        .unwrap();
}
