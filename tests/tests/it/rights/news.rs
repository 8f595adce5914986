//! The worker and an app with the documented rights for news, and what the app's user cannot do.

use harness::{
    services::Service,
    wait::{self, Seen},
};
use lapin::{
    Channel, ExchangeKind,
    options::{
        BasicConsumeOptions, BasicGetOptions, ExchangeDeclareOptions, ExchangeDeleteOptions,
        QueueBindOptions, QueueDeclareOptions, QueuePurgeOptions,
    },
    types::FieldTable,
};
use serde_json::Value;

use super::{
    BOUND, Deployment, MAIN_APP, OPERATIONS, commands, deliver,
    refused::{assert_refused, publish},
    run,
};

const USER: &str = "app_news";
const QUEUE: &str = "eu.app.news";
const EXCHANGE: &str = "eu.dialoom.changes";

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rights_for_news_are_enough_and_no_more() {
    let deployment = Deployment::start().await;
    let users = commands(OPERATIONS, "## Broker users with least rights");
    let worker_rights = commands(OPERATIONS, "### Rights for news");
    let app_rights = commands(MAIN_APP, "### The app's user for news");
    assert_eq!((worker_rights.len(), app_rights.len()), (2, 3));
    run(&deployment.node, &users[..4]).await;
    run(&deployment.node, &app_rights[..2]).await;

    // Without a right on the exchange, news waits and events go on.
    let mut worker = start(&deployment).await;
    let mut ingest = deployment.ingest();
    ingest.until_ready(BOUND).await.unwrap();
    assert_eq!(deliver(&ingest, "evt_1", "1").await, 200);
    let outcome = "SELECT outcome FROM stripe.event WHERE id = 'evt_1'";
    deployment.until(outcome, "applied").await;
    says(&worker, "a job failed; trying again").await;
    let state = "SELECT string_agg(state, ' ') FROM stripe.outbox";
    deployment.until(state, "waiting").await;

    // With it, the worker publishes by itself what the app's own queue gets.
    the_app_makes_its_queue(&deployment).await;
    run(&deployment.node, &worker_rights[..1]).await;
    assert_eq!(heard(&deployment).await, (1, "booking.invoice.paid".into()));

    // A worker that ends before it has noted that publishes it again.
    deployment.until(state, "published").await;

    // Less is enough once the exchange is there and the queue is bound.
    worker.terminate().await.unwrap();
    run(&deployment.node, &worker_rights[1..]).await;
    run(&deployment.node, &app_rights[2..]).await;
    let mut worker = start(&deployment).await;
    assert_eq!(deliver(&ingest, "evt_2", "2").await, 200);
    assert_eq!(heard(&deployment).await, (2, "booking.invoice.paid".into()));
    let exchange = EXCHANGE.into();
    let channel = deployment.channel(USER).await.1;
    let deleted = channel.exchange_delete(exchange, ExchangeDeleteOptions::default());
    assert_refused(deleted.await, "deleting the exchange with less");

    for rights in [&app_rights[2..], &app_rights[1..2]] {
        run(&deployment.node, rights).await;
        is_refused(&deployment).await;
    }
    worker.terminate().await.unwrap();
    ingest.terminate().await.unwrap();
}

async fn start(deployment: &Deployment) -> Service {
    let options = deployment.worker_options().env("CHANGES", "yes");
    Service::start(options).await.unwrap()
}

async fn says(worker: &Service, text: &str) {
    wait::until(text, BOUND, async || match worker.log() {
        log if log.contains(text) && log.contains("publish_changes") => Seen::Reached(()),
        log => Seen::NotYet(log),
    })
    .await
    .unwrap();
}

/// As NestJS makes it.
async fn the_app_makes_its_queue(deployment: &Deployment) {
    let (_connection, channel) = deployment.channel(USER).await;
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let kind = ExchangeKind::Topic;
    let declared = channel.exchange_declare(EXCHANGE.into(), kind, durable, FieldTable::default());
    declared.await.unwrap();
    let (options, table) = (QueueDeclareOptions::durable(), FieldTable::default());
    let declared = channel.queue_declare(QUEUE.into(), options, table);
    declared.await.unwrap();
    let bound = bind(&channel, EXCHANGE, "booking.invoice.*");
    bound.await.unwrap();
}

async fn bind(channel: &Channel, exchange: &str, key: &str) -> lapin::Result<()> {
    let (options, table) = (QueueBindOptions::default(), FieldTable::default());
    let (exchange, key) = (exchange.into(), key.into());
    channel
        .queue_bind(QUEUE.into(), exchange, key, options, table)
        .await
}

/// The booking and the kind of the next message in the app's queue.
async fn heard(deployment: &Deployment) -> (i64, String) {
    let (_connection, channel) = deployment.channel(USER).await;
    let options = BasicGetOptions { no_ack: true };
    let body = wait::until(
        "a message in the app's queue",
        BOUND,
        async || match channel.basic_get(QUEUE.into(), options).await.unwrap() {
            Some(message) => Seen::Reached(message.delivery.data),
            None => Seen::NotYet("none".into()),
        },
    )
    .await
    .unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let kind = body["pattern"].as_str().unwrap().to_owned();
    (body["data"]["bookingId"].as_i64().unwrap(), kind)
}

/// The app's user publishes nothing, and reads no queue but its own.
async fn is_refused(deployment: &Deployment) {
    for exchange in [EXCHANGE, "eu.stripe.events", "eu.stripe.commands", ""] {
        let (_connection, channel) = deployment.channel(USER).await;
        let what = format!("publishing to {exchange:?}");
        assert_refused(publish(&channel, exchange).await, &what);
    }
    for queue in [
        "eu.stripe.commands",
        "eu.stripe.commands.expired",
        "eu.stripe.events.worker",
        "eu.stripe.dead",
    ] {
        let (_connection, channel) = deployment.channel(USER).await;
        let got = channel.basic_get(queue.into(), BasicGetOptions::default());
        assert_refused(got.await, queue);
        let (_connection, channel) = deployment.channel(USER).await;
        let (options, table) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumed = channel.basic_consume(queue.into(), "".into(), options, table);
        assert_refused(consumed.await, queue);
        let (_connection, channel) = deployment.channel(USER).await;
        let purged = channel.queue_purge(queue.into(), QueuePurgeOptions::default());
        assert_refused(purged.await, queue);
    }
    // It gets no copy of an event by a binding either, and makes no other queue.
    let (_connection, channel) = deployment.channel(USER).await;
    let bound = bind(&channel, "eu.stripe.events", "invoice.paid").await;
    assert_refused(bound, "a binding to the events");
    let (_connection, channel) = deployment.channel(USER).await;
    let (options, table) = (QueueDeclareOptions::default(), FieldTable::default());
    let declared = channel.queue_declare("eu.app.spy".into(), options, table);
    assert_refused(declared.await, "another queue");
}
