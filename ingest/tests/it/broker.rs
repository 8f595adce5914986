//! The service while the broker is away, silent or refusing, and after it is back.

use crate::support::{App, BOUND, broker_and_spy, event, seen};
use harness::proxy::Proxy;
use harness::test_servers::TestBroker;
use hyper::StatusCode;
use ingest::limits::Limits;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties};
use std::time::{Duration, Instant};

/// Limits with a short deadline for publishing.
fn hasty() -> Limits {
    Limits {
        publish: Duration::from_millis(500),
        ..Limits::default()
    }
}

async fn behind_proxy(label: &str, limits: Limits) -> (App, Proxy, TestBroker, String) {
    let (broker, spy) = broker_and_spy(label).await;
    let proxy = Proxy::before(broker.url(), 5672).await.unwrap();
    let app = App::start_at(proxy.url(), broker.prefix(), limits).await;
    app.until_ready().await;
    (app, proxy, broker, spy)
}

async fn ok(app: &App, id: &str) {
    let answer = app.deliver(&event(id, "invoice.paid")).await;
    assert_eq!(answer.status, StatusCode::OK, "{id}: {}", answer.text());
}

/// Delivers an event that cannot be published. Returns how long the response took.
async fn unavailable(app: &App, id: &str) -> Duration {
    let start = Instant::now();
    let answer = app.deliver(&event(id, "invoice.paid")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{id}");
    assert_eq!(answer.headers.get("retry-after").unwrap(), "5");
    assert_eq!(answer.text(), "try again later\n");
    start.elapsed()
}

#[tokio::test]
async fn a_broker_that_is_gone_and_back() {
    let (app, proxy, broker, spy) = behind_proxy("gone", Limits::default()).await;
    ok(&app, "evt_before").await;
    for round in 0..3 {
        proxy.cut();
        let took = unavailable(&app, "evt_lost").await;
        assert!(took < Duration::from_secs(4), "{took:?}");
        let reason = app.until_status(StatusCode::SERVICE_UNAVAILABLE).await;
        assert!(reason.contains("broker"), "{reason}");
        proxy.restore();
        // The very next request succeeds: it does not wait for the backoff.
        ok(&app, &format!("evt_after_{round}")).await;
    }
    assert_eq!(seen(&broker, &spy).await.len(), 4);
    assert!(app.metric("ingest_broker_connects_total").await >= 4.0);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn a_broker_that_is_away_at_start() {
    let (broker, spy) = broker_and_spy("late").await;
    // Declares the queues beforehand, because creating them takes long.
    App::start(&broker, Limits::default())
        .await
        .stop()
        .await
        .unwrap();
    let proxy = Proxy::before(broker.url(), 5672).await.unwrap();
    proxy.cut();
    let app = App::start_at(proxy.url(), broker.prefix(), Limits::default()).await;
    unavailable(&app, "evt_early").await;
    assert_eq!(app.ready().await.status, StatusCode::SERVICE_UNAVAILABLE);
    proxy.restore();
    ok(&app, "evt_1").await;
    assert_eq!(app.ready().await.status, StatusCode::OK);
    assert_eq!(seen(&broker, &spy).await.len(), 1);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn a_broker_that_does_not_answer() {
    let (app, proxy, broker, spy) = behind_proxy("stalled", hasty()).await;
    ok(&app, "evt_before").await;
    proxy.stall();
    let took = unavailable(&app, "evt_stalled").await;
    assert!(took >= Duration::from_millis(400), "{took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    // No confirm came before the deadline, so the connection was aborted.
    app.until_status(StatusCode::SERVICE_UNAVAILABLE).await;
    proxy.restore();
    ok(&app, "evt_after").await;
    let ids: Vec<_> = seen(&broker, &spy).await;
    // The stalled event may have arrived, too: delivery is at least once.
    assert!((2..=3).contains(&ids.len()), "{}", ids.len());
    app.stop().await.unwrap();
}

#[tokio::test]
async fn a_confirm_that_is_lost() {
    let (app, proxy, broker, spy) = behind_proxy("lost-confirm", hasty()).await;
    // The broker receives the message, but its confirm does not reach the service.
    proxy.stall_server();
    let took = unavailable(&app, "evt_1").await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    broker.until_depth(&spy, 1, BOUND).await.unwrap();
    proxy.restore();
    // Stripe delivers the event again. It is on the queue twice and not lost.
    ok(&app, "evt_1").await;
    assert_eq!(seen(&broker, &spy).await.len(), 2);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn requests_in_flight_when_the_broker_goes() {
    let (app, proxy, _broker, _spy) = behind_proxy("in-flight", Limits::default()).await;
    proxy.stall();
    let start = Instant::now();
    let requests = async {
        let ids = ["evt_1", "evt_2", "evt_3"];
        let [one, two, three] = ids.map(|id| unavailable(&app, id));
        tokio::join!(one, two, three);
    };
    let cutting = async {
        app.until_metric("ingest_in_flight", 3.0).await;
        proxy.cut();
    };
    tokio::join!(requests, cutting);
    // The requests ended with the connection, before the deadline.
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    proxy.restore();
    ok(&app, "evt_after").await;
    app.stop().await.unwrap();
}

async fn channel(broker: &TestBroker) -> (Connection, lapin::Channel) {
    let properties = ConnectionProperties::default();
    let connection = Connection::connect(broker.url(), properties).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

#[tokio::test]
async fn a_queue_that_was_deleted_is_put_back() {
    let broker = TestBroker::new("deleted");
    let app = App::start(&broker, Limits::default()).await;
    let queue = broker.worker_queue();
    let (_connection, channel) = channel(&broker).await;
    let options = QueueDeleteOptions::default();
    channel
        .queue_delete(queue.as_str().into(), options)
        .await
        .unwrap();
    unavailable(&app, "evt_1").await;
    broker.until_depth(&queue, 0, BOUND).await.unwrap();
    app.until_ready().await;
    ok(&app, "evt_1").await;
    assert_eq!(broker.depth(&queue).await.unwrap(), 1);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn an_exchange_that_was_deleted_is_put_back() {
    let broker = TestBroker::new("exchange");
    let app = App::start(&broker, Limits::default()).await;
    ok(&app, "evt_1").await;
    let (_connection, channel) = channel(&broker).await;
    let exchange = broker.events_exchange();
    let deleted = channel.exchange_delete(exchange.as_str().into(), Default::default());
    deleted.await.unwrap();
    unavailable(&app, "evt_2").await;
    app.until_ready().await;
    ok(&app, "evt_2").await;
    assert_eq!(broker.depth(&broker.worker_queue()).await.unwrap(), 2);
    app.stop().await.unwrap();
}

/// Delivers many events at once, half of them unroutable. Each response must be
/// that of its own event, although a returned message does not say which publish
/// it belongs to.
#[tokio::test]
async fn a_missing_binding_fails_exactly_its_own_events() {
    let broker = TestBroker::new("binding");
    let app = App::start(&broker, Limits::default()).await;
    let (queue, exchange) = (broker.worker_queue(), broker.events_exchange());
    let (_connection, channel) = channel(&broker).await;
    let unbind = async || {
        let (queue, exchange) = (queue.as_str().into(), exchange.as_str().into());
        let unbound = channel.queue_unbind(
            queue,
            exchange,
            "invoice.sent".into(),
            FieldTable::default(),
        );
        unbound.await.unwrap();
    };
    let (mut sent_ok, mut sent_refused, mut paid_ok) = (0, 0, 0);
    for round in 0..20 {
        unbind().await;
        let bodies = (0..40).map(|n| {
            let kind = if n % 2 == 0 {
                "invoice.sent"
            } else {
                "invoice.paid"
            };
            (kind, event(&format!("evt_{round}_{n}"), kind))
        });
        let requests = bodies.map(|(kind, body)| {
            let app = &app;
            async move { (kind, app.deliver(&body).await.status) }
        });
        for (kind, status) in futures_util::future::join_all(requests).await {
            match (kind, status) {
                ("invoice.paid", StatusCode::OK) => paid_ok += 1,
                ("invoice.sent", StatusCode::OK) => sent_ok += 1,
                ("invoice.sent", StatusCode::SERVICE_UNAVAILABLE) => sent_refused += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(paid_ok, 400);
    // Every event that was answered with 200 is on the queue. The service declares
    // the binding again, so some of the unroutable events are published after all.
    assert!(sent_refused > 0, "the binding was never missing");
    assert_eq!(broker.depth(&queue).await.unwrap(), paid_ok + sent_ok);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn a_queue_that_refuses() {
    let broker = TestBroker::new("full");
    let app = App::start(&broker, Limits::default()).await;
    // This queue is always full and refuses messages.
    let (_connection, channel) = channel(&broker).await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(0));
    arguments.insert(
        "x-overflow".into(),
        AMQPValue::LongString("reject-publish".into()),
    );
    let name = format!("{}full", broker.prefix());
    let options = QueueDeclareOptions {
        exclusive: true,
        ..Default::default()
    };
    channel
        .queue_declare(name.as_str().into(), options, arguments)
        .await
        .unwrap();
    let exchange = broker.events_exchange();
    let bound = channel.queue_bind(
        name.as_str().into(),
        exchange.as_str().into(),
        "invoice.paid".into(),
        Default::default(),
        FieldTable::default(),
    );
    bound.await.unwrap();
    unavailable(&app, "evt_1").await;
    assert_eq!(
        app.metric(r#"ingest_publishes_total{outcome="refused"}"#)
            .await,
        1.0
    );
    let deleted = channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default());
    deleted.await.unwrap();
    ok(&app, "evt_1").await;
    app.stop().await.unwrap();
}

#[tokio::test]
async fn more_in_flight_than_allowed_is_refused_at_once() {
    let limits = Limits {
        in_flight: 1,
        publish: Duration::from_secs(2),
        ..Limits::default()
    };
    let (app, proxy, _broker, _spy) = behind_proxy("overload", limits).await;
    proxy.stall();
    let first = async { unavailable(&app, "evt_1").await };
    let second = async {
        app.until_metric("ingest_in_flight", 1.0).await;
        unavailable(&app, "evt_2").await
    };
    let (_, took) = tokio::join!(first, second);
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(
        app.metric(r#"ingest_publishes_total{outcome="overloaded"}"#)
            .await,
        1.0
    );
    app.stop().await.unwrap();
}

#[tokio::test]
async fn a_topology_that_differs_ends_the_start() {
    let broker = TestBroker::new("differs");
    let (_connection, channel) = channel(&broker).await;
    let queue = broker.worker_queue();
    let declared = channel.queue_declare(
        queue.as_str().into(),
        QueueDeclareOptions::durable(),
        FieldTable::default(),
    );
    declared.await.unwrap();
    let app = App::start_at(broker.url(), broker.prefix(), Limits::default()).await;
    let error = app.ended().await.unwrap_err();
    let line = shared::telemetry::report(&error);
    assert!(
        line.contains(&queue) && line.contains("inequivalent arg"),
        "{line}"
    );
}
