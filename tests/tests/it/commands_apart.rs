//! Commands that cannot be taken hold up no event.

use harness::wait::{self, Seen};
use lapin::{
    options::{QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use serde_json::json;

use crate::support::{BOUND, Deployment, paid, until_answered};

/// Somebody's app has made a queue of that name, as NestJS does without `noAssert`.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_commands_that_differs_stops_no_event() {
    let dialoom = Deployment::start("apart").await;
    let queue = dialoom.broker.commands();
    let connection = harness::servers::rabbitmq::connect(dialoom.broker.url())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let (name, table) = (queue.as_str().into(), FieldTable::default());
    channel.queue_declare(name, options, table).await.unwrap();

    let mut worker = dialoom.worker(dialoom.broker.url()).await;
    wait::until("a line in the log", BOUND, async || match worker.log() {
        log if log.contains("no command is taken until") => Seen::Reached(()),
        log => Seen::NotYet(log),
    })
    .await
    .unwrap();
    let log = worker.log();
    let line = log.lines().find(|line| line.contains("no command is"));
    assert!(line.unwrap().contains(&queue), "{log}");
    dialoom.book(1).await;
    assert_eq!(dialoom.deliver(&paid(1)).await, 200);
    let outcome = "SELECT outcome FROM stripe.event";
    dialoom.until(outcome, "applied").await;
    worker.until_ready(BOUND).await.unwrap();

    // Somebody deletes it, and the worker makes its own.
    let options = QueueDeleteOptions::default();
    let deleted = channel.queue_delete(queue.as_str().into(), options);
    deleted.await.unwrap();
    let answer = until_answered(
        dialoom.broker.url(),
        &queue,
        "host.status",
        &json!({ "hostId": 7 }),
    )
    .await;
    assert_eq!(answer["err"]["code"], "not_configured");
    assert!(worker.process().is_alive());
}
