//! How news for the main app is published: in order, at least once, and never in the way of
//! an event.

use std::time::Duration;

use harness::{proxy::Proxy, stripe::Event, test_servers::TestBroker};
use lapin::{
    BasicProperties, Channel, ExchangeKind,
    options::{
        BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
        QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde_json::json;
use store::{backlog::WaitingNews, retention::Kind};
use tokio_util::sync::CancellationToken;
use worker::jobs::prune;

use crate::support::{
    APPLIED, Lab,
    invoices::{HOST, event, invoice},
    news::{data, heard, ids, publish, publisher, states, telling, told},
    operator::Operator,
    payments::nth_paid,
};

async fn sql(lab: &Lab, statements: &str) {
    lab.client.batch_execute(statements).await.unwrap();
}

/// Draft, open and paid, one event after the other.
async fn pay(lab: &Lab) {
    for (seconds, (kind, status)) in [
        ("invoice.created", "draft"),
        ("invoice.finalized", "open"),
        ("invoice.paid", "paid"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut event = event(&format!("evt_{status}"), kind, invoice(status, Some("7")));
        event.created += i64::try_from(seconds).unwrap();
        assert_eq!(lab.take_one(&event).await, APPLIED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_gets_the_news_in_order_and_once() {
    let (lab, broker) = (telling().await, TestBroker::new("news"));
    let queue = broker.hear("#").await.unwrap();
    let paid_only = broker.hear("booking.invoice.paid").await.unwrap();
    let mut job = publisher(&lab, &broker, broker.url());
    publish(&mut job).await.unwrap();
    pay(&lab).await;
    publish(&mut job).await.unwrap();
    publish(&mut job).await.unwrap();
    let messages = heard(&broker, &queue, 3).await;
    let keys: Vec<&str> = messages
        .iter()
        .map(|one| one.routing_key.as_str())
        .collect();
    let kinds = [
        "booking.invoice.draft",
        "booking.invoice.sent",
        "booking.invoice.paid",
    ];
    assert_eq!(keys, kinds);
    let paid = heard(&broker, &paid_only, 1).await.remove(0);
    let properties = &paid.properties;
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!(properties.kind().as_ref().unwrap().as_str(), kinds[2]);
    let content = properties.content_type().as_ref().unwrap();
    assert_eq!(content.as_str(), "application/json");
    let mut said = data(&paid);
    let at = said.as_object_mut().unwrap().remove("at").unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(at.as_str().unwrap()).is_ok());
    let id = properties.message_id().as_ref().unwrap().to_string();
    assert_eq!(
        said,
        json!({
            "version": 1, "id": id, "kind": kinds[2], "rowVersion": 3, "bookingId": 7,
            "stripeInvoiceId": "in_1", "status": "PAID", "amount": "45", "currency": "eur",
            "amountRefunded": "0", "amountCredited": "0", "hasPdf": true, "stripeAccountId": HOST,
        })
    );
    let body: serde_json::Value = serde_json::from_slice(&paid.data).unwrap();
    assert_eq!(body["pattern"], kinds[2]);
    assert_eq!(body.as_object().unwrap().len(), 2);
    assert_eq!(states(&lab).await, "published 3");
    assert_eq!(job.metrics.published.get(), 3);
}

/// The worker dies between the publishing and the note of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_noted_comes_again_with_the_same_ids() {
    let (lab, broker) = (telling().await, TestBroker::new("newsdying"));
    let queue = broker.hear("#").await.unwrap();
    pay(&lab).await;
    let refuse = "ALTER TABLE stripe.outbox ADD CONSTRAINT no CHECK (state = 'waiting')";
    sql(&lab, refuse).await;
    let mut dying = publisher(&lab, &broker, broker.url());
    publish(&mut dying).await.unwrap_err();
    drop(dying);
    sql(&lab, "ALTER TABLE stripe.outbox DROP CONSTRAINT no").await;
    publish(&mut publisher(&lab, &broker, broker.url()))
        .await
        .unwrap();
    let ids = ids(&heard(&broker, &queue, 6).await);
    assert_eq!(ids[..3], ids[3..]);
    assert_eq!(states(&lab).await, "published 3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_holds_up_no_event_and_gets_the_news_later() {
    let (lab, broker) = (telling().await, TestBroker::new("newsaway"));
    let queue = broker.hear("#").await.unwrap();
    let proxy = Proxy::before(broker.url(), 5672).await.unwrap();
    let mut job = publisher(&lab, &broker, proxy.url());
    publish(&mut job).await.unwrap();
    proxy.cut();
    pay(&lab).await;
    publish(&mut job).await.unwrap_err();
    publish(&mut job).await.unwrap_err();
    assert_eq!(states(&lab).await, "waiting 3");
    let long_ago = "UPDATE stripe.outbox SET created_at = now() - interval '90 s'";
    sql(&lab, long_ago).await;
    let waiting = async || {
        let conn = lab.executor.pool.get().await.unwrap();
        store::backlog::count(&conn).await.unwrap().news
    };
    let late = waiting().await;
    assert_eq!((late.count, late.oldest_seconds / 10), (3, 9));
    proxy.restore();
    publish(&mut job).await.unwrap();
    assert_eq!(heard(&broker, &queue, 3).await.len(), 3);
    assert_eq!(states(&lab).await, "published 3");
    assert_eq!(waiting().await, WaitingNews::default());
}

/// A queue of the app's that refuses messages of this kind, because it is full.
async fn full(channel: &Channel, broker: &TestBroker, queue: &str, kind: &str) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    let overflow = AMQPValue::LongString("reject-publish".into());
    arguments.insert("x-overflow".into(), overflow);
    let own = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let made = channel.queue_declare(queue.into(), own, arguments).await;
    made.unwrap();
    for _ in 0..2 {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let filling = channel.basic_publish("".into(), queue.into(), options, b"{}", properties);
        filling.await.unwrap();
    }
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    let (exchange, kind) = (broker.changes().into(), kind.into());
    let bound = channel.queue_bind(queue.into(), exchange, kind, options, none);
    bound.await.unwrap();
}

/// What follows what a queue refuses waits with it: else another queue would get the older news
/// of the booking behind the newer.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_queue_refuses_is_not_overtaken_by_what_follows_it() {
    let (lab, broker) = (telling().await, TestBroker::new("newsfull"));
    let queue = broker.hear("#").await.unwrap();
    let mut job = publisher(&lab, &broker, broker.url());
    publish(&mut job).await.unwrap();
    let connection = harness::servers::rabbitmq::connect(broker.url())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let name = format!("{}full", broker.prefix());
    full(&channel, &broker, &name, "booking.invoice.sent").await;
    pay(&lab).await;
    publish(&mut job).await.unwrap_err();
    assert_eq!(states(&lab).await, "published 1, waiting 2");
    let kinds = async |count| {
        let messages = heard(&broker, &queue, count).await;
        let kinds = messages
            .iter()
            .map(|one| one.routing_key.as_str().to_owned());
        kinds.collect::<Vec<String>>()
    };
    // This queue has what the other one refused, and nothing of after it.
    assert_eq!(
        kinds(2).await,
        ["booking.invoice.draft", "booking.invoice.sent"]
    );
    let options = QueueDeleteOptions::default();
    channel.queue_delete(name.into(), options).await.unwrap();
    publish(&mut job).await.unwrap();
    assert_eq!(
        kinds(2).await,
        ["booking.invoice.sent", "booking.invoice.paid"]
    );
    assert_eq!(states(&lab).await, "published 3");
}

/// Somebody else made the exchange, and not as it has to be.
#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_differs_is_named_and_the_news_waits() {
    let (lab, broker) = (telling().await, TestBroker::new("newsother"));
    let connection = harness::servers::rabbitmq::connect(broker.url())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let (kind, options) = (ExchangeKind::Fanout, ExchangeDeclareOptions::default());
    channel
        .exchange_declare(
            broker.changes().into(),
            kind,
            options,
            FieldTable::default(),
        )
        .await
        .unwrap();
    pay(&lab).await;
    let mut job = publisher(&lab, &broker, broker.url());
    let error = publish(&mut job).await.unwrap_err();
    let said = shared::telemetry::report(error.as_ref());
    assert!(said.contains("dialoom.changes"), "{said}");
    assert_eq!(states(&lab).await, "waiting 3");
}

/// A main app that binds its queue late asks for what it missed.
#[tokio::test(flavor = "multi_thread")]
async fn news_that_nobody_hears_is_kept_and_published_again() {
    let (lab, broker) = (telling().await, TestBroker::new("newsunheard"));
    let mut job = publisher(&lab, &broker, broker.url());
    pay(&lab).await;
    publish(&mut job).await.unwrap();
    assert_eq!(states(&lab).await, "unheard 3");
    assert_eq!(job.metrics.unheard.get(), 3);
    let queue = broker.hear("booking.#").await.unwrap();
    let operator = Operator::new(lab.worker_url(), &broker);
    let line = "changes republish --since 1h --json";
    let dry = operator.run(&format!("{line} --dry-run")).await.well();
    assert_eq!(dry.objects()[0], json!({ "rows": 3, "dry_run": true }));
    let asked = operator.run(line).await;
    assert_eq!(asked.code, 2, "nobody is there to ask: {}", asked.err);
    assert_eq!(states(&lab).await, "unheard 3");
    operator.run(&format!("{line} --yes")).await.well();
    assert_eq!(states(&lab).await, "waiting 3");
    publish(&mut job).await.unwrap();
    let messages = heard(&broker, &queue, 3).await;
    let versions: Vec<_> = messages
        .iter()
        .map(|one| data(one)["rowVersion"].clone())
        .collect();
    assert_eq!(versions, [1, 2, 3]);
    let none = operator
        .run("changes republish --since 2099-01-01 --yes")
        .await;
    assert_eq!(
        none.well().out,
        "0 rows of news would be published again.\n"
    );

    let listed = operator.run("changes list --limit 2").await.well();
    assert!(
        listed.out.contains("booking.invoice.paid"),
        "{}",
        listed.out
    );
    let last = listed.err.trim().rsplit(' ').next().unwrap().to_owned();
    let line = format!("changes list --after {last} --json");
    let rest = operator.run(&line).await.well().objects();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0]["kind"], "booking.invoice.draft");
    assert_eq!(rest[0]["state"], "published");
    let filtered = "changes list --kind booking.invoice.paid --key 7 --state published --json";
    assert_eq!(operator.run(filtered).await.well().objects().len(), 1);
    assert_eq!(operator.run("changes list --state lost").await.code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn news_is_removed_when_it_is_old_and_when_there_is_too_much() {
    let (lab, broker) = (telling().await, TestBroker::new("newsold"));
    let events: Vec<Event> = (0..10).map(nth_paid).collect();
    lab.take(&events[..4]).await;
    let mut job = publisher(&lab, &broker, broker.url());
    publish(&mut job).await.unwrap();
    lab.take(&events[4..]).await;
    let old = "UPDATE stripe.outbox SET created_at = now() - interval '8 days' WHERE id % 2 = 1";
    sql(&lab, old).await;
    let stop = CancellationToken::new();
    let removed = prune::prune(&lab.executor.pool, Kind::News, 7, &stop).await;
    assert_eq!(removed.unwrap(), 2);
    // What waits is kept however old it is.
    assert_eq!(states(&lab).await, "unheard 2, waiting 6");
    // The oldest go first, and what waits last.
    let mut crowded = publisher(&lab, &broker, "amqp://127.0.0.1:1");
    crowded.most_rows = 5;
    publish(&mut crowded).await.unwrap_err();
    assert_eq!(states(&lab).await, "waiting 5");
    assert_eq!(told(&lab).await[0], "booking.invoice.paid 6 1");
    // The versions go on all the same.
    let mut voided = nth_paid(0);
    voided.id = "evt_void".into();
    voided.kind = "invoice.voided".into();
    voided.object["status"] = "void".into();
    voided.created += 10;
    lab.take_one(&voided).await;
    assert_eq!(told(&lab).await[5], "booking.invoice.voided 1 2");
}

/// The whole of a batch and more, with a main app that is slow to bind.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_rows_are_published_in_their_order() {
    let (lab, broker) = (telling().await, TestBroker::new("newsmany"));
    let queue = broker.hear("#").await.unwrap();
    let events: Vec<Event> = (0..1200).map(nth_paid).collect();
    for batch in events.chunks(400) {
        lab.take(batch).await;
    }
    let started = std::time::Instant::now();
    let mut job = publisher(&lab, &broker, broker.url());
    publish(&mut job).await.unwrap();
    let took: Duration = started.elapsed();
    println!("1200 rows were published in {} ms", took.as_millis());
    let messages = heard(&broker, &queue, 1200).await;
    let ids: Vec<i64> = ids(&messages)
        .iter()
        .map(|id| id.parse().unwrap())
        .collect();
    assert!(ids.is_sorted());
    assert_eq!(states(&lab).await, "published 1200");
}
