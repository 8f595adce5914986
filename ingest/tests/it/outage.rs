//! A broker that blocks publishers, freezes and crashes. The test has its own.

use crate::support::{App, event};
use harness::private::PrivateFolder;
use harness::servers::{RabbitMq, RabbitMqOptions};
use harness::test_servers::TestBroker;
use hyper::StatusCode;
use ingest::limits::Limits;
use std::time::{Duration, Instant};

/// How long a response may take on a busy machine if the deadline for publishing
/// is a second.
const BOUND: Duration = Duration::from_secs(4);

async fn deliver(app: &App, id: &str) -> (StatusCode, Duration) {
    let start = Instant::now();
    let answer = app.deliver(&event(id, "invoice.paid")).await;
    (answer.status, start.elapsed())
}

async fn ok(app: &App, id: &str) {
    assert_eq!(deliver(app, id).await.0, StatusCode::OK, "{id}");
}

async fn unavailable(app: &App, id: &str, within: Duration) {
    let (status, took) = deliver(app, id).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{id}");
    assert!(took < within, "{id}: {took:?}");
}

#[tokio::test]
async fn a_broker_that_blocks_freezes_and_crashes() {
    let folder = PrivateFolder::make("ingest-outage").unwrap();
    let options = RabbitMqOptions::default();
    let mut node = RabbitMq::start(folder.path(), options).await.unwrap();
    let broker = TestBroker::on(&node.url(), "outage");
    let limits = Limits {
        publish: Duration::from_secs(1),
        ..Limits::default()
    };
    let app = App::start(&broker, limits).await;
    ok(&app, "evt_1").await;

    // The broker is short of memory and blocks publishers.
    let set = ["set_vm_memory_high_watermark", "0.0000001"];
    node.ctl(&set).await.unwrap();
    // It announces that when the next message is published.
    unavailable(&app, "evt_blocked", BOUND).await;
    let reason = app.until_status(StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(reason, "the broker blocks publishers\n");
    unavailable(&app, "evt_blocked", Duration::from_millis(500)).await;
    assert_eq!(app.metric("ingest_broker_blocked").await, 1.0);
    let unset = ["set_vm_memory_high_watermark", "0.6"];
    node.ctl(&unset).await.unwrap();
    app.until_ready().await;
    ok(&app, "evt_2").await;
    assert_eq!(app.metric("ingest_broker_blocked").await, 0.0);

    // The broker is frozen: the connection stays open, but no confirm comes.
    node.process().unwrap().pause();
    unavailable(&app, "evt_frozen", BOUND).await;
    unavailable(&app, "evt_frozen", BOUND).await;
    node.process().unwrap().resume();
    ok(&app, "evt_3").await;

    // The broker crashes and is started again.
    node.kill();
    unavailable(&app, "evt_crashed", BOUND).await;
    node.start_again().await.unwrap();
    ok(&app, "evt_4").await;

    // Every event that was answered with 200 is still on the queue.
    let queue = broker.worker_queue();
    let messages = broker.take_all(&queue).await.unwrap();
    let ids: Vec<_> = messages
        .iter()
        .filter_map(|message| message.properties.message_id().as_ref())
        .map(ToString::to_string)
        .collect();
    for id in ["evt_1", "evt_2", "evt_3", "evt_4"] {
        assert!(
            ids.iter().any(|seen| seen == id),
            "{id} is not among {ids:?}"
        );
    }
    app.stop().await.unwrap();
    drop(broker);
    node.stop().await.unwrap();
}
