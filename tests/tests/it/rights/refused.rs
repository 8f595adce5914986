//! What the broker refuses to the services' users.

use lapin::{
    BasicProperties, Channel, ErrorKind, ExchangeKind,
    options::{
        BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
        ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
        QueueDeleteOptions, QueuePurgeOptions,
    },
    types::FieldTable,
};

use super::Deployment;

/// The broker refused for want of a right.
fn assert_refused<T>(done: lapin::Result<T>, what: &str) {
    let Err(error) = done else {
        panic!("{what} was allowed");
    };
    let refused = matches!(error.kind(), ErrorKind::ProtocolError(reply) if reply.get_id() == 403);
    assert!(refused, "{what}: {error}");
}

async fn publish(channel: &Channel, exchange: &str) -> lapin::Result<()> {
    let select = ConfirmSelectOptions::default();
    channel.confirm_select(select).await?;
    let options = BasicPublishOptions::default();
    let nothing = BasicProperties::default();
    let sent = channel.basic_publish(exchange.into(), "x".into(), options, b"{}", nothing);
    sent.await?.await.map(drop)
}

/// What ingest's user may not do, and the one thing that it may.
pub(super) async fn to_ingest(deployment: &Deployment) {
    const QUEUE: &str = "eu.stripe.events.worker";
    let user = "dialoom_ingest";
    let (_connection, channel) = deployment.channel(user).await;
    let got = channel.basic_get(QUEUE.into(), BasicGetOptions::default());
    assert_refused(got.await, "getting an event");
    let (_connection, channel) = deployment.channel(user).await;
    let (options, table) = (BasicConsumeOptions::default(), FieldTable::default());
    let consumed = channel.basic_consume(QUEUE.into(), "".into(), options, table);
    assert_refused(consumed.await, "consuming");
    let (_connection, channel) = deployment.channel(user).await;
    let purged = channel.queue_purge(QUEUE.into(), QueuePurgeOptions::default());
    assert_refused(purged.await, "emptying the queue");
    let (_connection, channel) = deployment.channel(user).await;
    let deleted = channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default());
    assert_refused(deleted.await, "deleting the queue");
    // Not even to an exchange that everybody has.
    for exchange in ["eu.stripe.events", "amq.fanout"] {
        let (_connection, channel) = deployment.channel(user).await;
        let (options, table) = (QueueBindOptions::default(), FieldTable::default());
        let bound = channel.queue_bind(QUEUE.into(), exchange.into(), "x".into(), options, table);
        assert_refused(bound.await, "binding the queue");
    }
    let (_connection, channel) = deployment.channel(user).await;
    let exchange = "eu.stripe.events".into();
    let deleted = channel.exchange_delete(exchange, ExchangeDeleteOptions::default());
    assert_refused(deleted.await, "deleting the exchange");
    let (_connection, channel) = deployment.channel(user).await;
    assert_refused(publish(&channel, "eu.stripe.dead").await, "a dead letter");
    let (_connection, channel) = deployment.channel(user).await;
    assert_refused(publish(&channel, "").await, "publishing to any queue");
    let (_connection, channel) = deployment.channel(user).await;
    publish(&channel, "eu.stripe.events").await.unwrap();
}

/// What the worker's user may not do.
pub(super) async fn to_the_worker(deployment: &Deployment) {
    let user = "dialoom_worker";
    let (_connection, channel) = deployment.channel(user).await;
    let (options, table) = (QueueDeclareOptions::default(), FieldTable::default());
    let declared = channel.queue_declare("eu.stripe.events.spy".into(), options, table);
    assert_refused(declared.await, "a queue of its own");
    let (_connection, channel) = deployment.channel(user).await;
    let (options, table) = (ExchangeDeclareOptions::default(), FieldTable::default());
    let kind = ExchangeKind::Fanout;
    let declared = channel.exchange_declare("stripe.events".into(), kind, options, table);
    assert_refused(declared.await, "an exchange of another deployment");
    let (_connection, channel) = deployment.channel(user).await;
    let (options, table) = (QueueBindOptions::default(), FieldTable::default());
    let (queue, exchange) = ("eu.stripe.dead".into(), "eu.stripe.events".into());
    let bound = channel.queue_bind(queue, exchange, "invoice.paid".into(), options, table);
    assert_refused(bound.await, "a binding");
    let (_connection, channel) = deployment.channel(user).await;
    assert_refused(publish(&channel, "").await, "publishing to any queue");
}
