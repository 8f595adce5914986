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
pub(super) fn assert_refused<T>(done: lapin::Result<T>, what: &str) {
    let Err(error) = done else {
        panic!("{what} was allowed");
    };
    let refused = matches!(error.kind(), ErrorKind::ProtocolError(reply) if reply.get_id() == 403);
    assert!(refused, "{what}: {error}");
}

pub(super) async fn publish(channel: &Channel, exchange: &str) -> lapin::Result<()> {
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

/// What the user of commands may not do.
pub(super) async fn to_the_commands_user(deployment: &Deployment) {
    let url = deployment.url_in("commands", "dialoom_commands");
    let (_connection, channel) = deployment.channel_to(&url).await;
    let (options, table) = (QueueDeclareOptions::default(), FieldTable::default());
    let declared = channel.queue_declare("eu.stripe.commands.spy".into(), options, table);
    assert_refused(declared.await, "a queue of its own");
    let (_connection, channel) = deployment.channel_to(&url).await;
    let published = publish(&channel, "eu.stripe.commands").await;
    assert_refused(published, "a command of its own by the exchange");
    let elsewhere = deployment.url("dialoom_commands");
    assert!(
        lapin::Connection::connect(&elsewhere, lapin::ConnectionProperties::default())
            .await
            .is_err(),
        "the virtual host of the events"
    );
}

/// What the app's user may not do, in the virtual host where commands are.
pub(super) async fn to_the_app(deployment: &Deployment, virtual_host: &str) {
    const QUEUES: [&str; 2] = ["eu.stripe.commands", "eu.stripe.commands.expired"];
    let url = deployment.url_in(virtual_host, "app");
    let channel = async || deployment.channel_to(&url).await;
    // Events live in the other virtual host, and so do these names where that is this one.
    let events = ["eu.stripe.events.worker", "eu.stripe.dead"];
    let events: &[&str] = if virtual_host == "%2f" { &events } else { &[] };
    for queue in QUEUES.iter().chain(events).copied() {
        let (_connection, channel_of) = channel().await;
        let got = channel_of.basic_get(queue.into(), BasicGetOptions::default());
        assert_refused(got.await, queue);
        let (_connection, channel_of) = channel().await;
        let (options, table) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumed = channel_of.basic_consume(queue.into(), "".into(), options, table);
        assert_refused(consumed.await, queue);
        let (_connection, channel_of) = channel().await;
        let purged = channel_of.queue_purge(queue.into(), QueuePurgeOptions::default());
        assert_refused(purged.await, queue);
        let (_connection, channel_of) = channel().await;
        let deleted = channel_of.queue_delete(queue.into(), QueueDeleteOptions::default());
        assert_refused(deleted.await, queue);
    }
    for queue in ["", "eu.stripe.commands", "spy"] {
        let (_connection, channel_of) = channel().await;
        let (options, table) = (QueueDeclareOptions::default(), FieldTable::default());
        let declared = channel_of.queue_declare(queue.into(), options, table);
        assert_refused(declared.await, "declaring a queue");
    }
    let (_connection, channel_of) = channel().await;
    let exchange = "eu.stripe.commands".into();
    let deleted = channel_of.exchange_delete(exchange, ExchangeDeleteOptions::default());
    assert_refused(deleted.await, "deleting the exchange");
    let (_connection, channel_of) = channel().await;
    let (options, table) = (QueueBindOptions::default(), FieldTable::default());
    let queue = "eu.stripe.commands.expired".into();
    let bound = channel_of.queue_bind(
        queue,
        "eu.stripe.commands".into(),
        "#".into(),
        options,
        table,
    );
    assert_refused(bound.await, "a binding");
    if virtual_host == "%2f" {
        for exchange in ["eu.stripe.events", "eu.stripe.dead", ""] {
            let (_connection, channel_of) = channel().await;
            assert_refused(publish(&channel_of, exchange).await, exchange);
        }
    }
}
