//! The topology against a real broker.

use harness::wait::{self, Seen};
use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ExchangeKind};
use shared::amqp::{self, AmqpUrl};
use shared::config::Env;
use shared::topology::{self, Declared, Names, OtherLimit, Role, TopologyError};
use std::time::Duration;

/// Bound for a message to be in its queue.
const BOUND: Duration = Duration::from_secs(20);

async fn broker() -> (Connection, Names) {
    let url = AmqpUrl::from_env(&Env::from_process()).unwrap();
    let connection = amqp::connect(&url, "topology test").await.unwrap();
    let names = Names::new(&format!("t{}.", fastrand::u64(..))).unwrap();
    (connection, names)
}

/// Declares the topology as the worker does.
async fn declare(connection: &Connection, names: &Names) -> Result<Declared, TopologyError> {
    topology::declare(connection, names, Role::Consumer).await
}

/// What is known after all was compared, and these queues have these limits.
fn compared(limits: &[(&ShortString, Option<i64>)]) -> Declared {
    let other = |&(queue, limit): &(&ShortString, _)| OtherLimit {
        queue: queue.clone(),
        limit,
    };
    Declared::Compared {
        other_limits: limits.iter().map(other).collect(),
    }
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// The arguments with which an earlier release made the worker's queue.
fn with_a_limit(names: &Names) -> Vec<(&'static str, AMQPValue)> {
    vec![
        ("x-queue-type", text("quorum")),
        ("x-dead-letter-exchange", text(names.dead_exchange.as_str())),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
        ("x-delivery-limit", AMQPValue::LongInt(20)),
    ]
}

/// Declares a durable queue with only these arguments.
async fn make_queue(connection: &Connection, name: &ShortString, with: Vec<(&str, AMQPValue)>) {
    let channel = connection.create_channel().await.unwrap();
    let mut arguments = FieldTable::default();
    for (key, value) in with {
        arguments.insert(key.into(), value);
    }
    let durable = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let declared = channel.queue_declare(name.clone(), durable, arguments);
    declared.await.unwrap();
}

async fn delete(connection: &Connection, names: &Names) {
    let channel = connection.create_channel().await.unwrap();
    for queue in [&names.worker, &names.dead_queue] {
        let options = QueueDeleteOptions::default();
        channel.queue_delete(queue.clone(), options).await.unwrap();
    }
    for exchange in [&names.events, &names.dead_exchange] {
        let deleted = channel.exchange_delete(exchange.clone(), Default::default());
        deleted.await.unwrap();
    }
}

#[tokio::test]
async fn declaring_twice_is_declaring_once() {
    let (connection, names) = broker().await;
    for _ in 0..2 {
        let declared = declare(&connection, &names).await.unwrap();
        assert_eq!(declared, compared(&[]));
    }
    delete(&connection, &names).await;
}

#[tokio::test]
async fn both_services_may_declare_at_once() {
    let (connection, names) = broker().await;
    let publisher = topology::declare(&connection, &names, Role::Publisher);
    let (one, two) = tokio::join!(declare(&connection, &names), publisher);
    one.unwrap();
    two.unwrap();
    delete(&connection, &names).await;
}

#[tokio::test]
async fn a_queue_of_another_kind_is_named() {
    let (connection, names) = broker().await;
    let classic = vec![("x-queue-type", text("classic"))];
    make_queue(&connection, &names.worker, classic).await;
    let error = declare(&connection, &names).await.unwrap_err();
    let line = error.to_string();
    assert!(error.is_mismatch(), "{line}");
    assert!(
        line.contains(&format!("queue {} exists", names.worker)),
        "{line}"
    );
    assert!(line.contains("inequivalent arg"), "{line}");
    assert!(line.contains("x-delivery-limit=2147483647"), "{line}");
    assert!(line.contains("drain and delete it"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    delete(&connection, &names).await;
}

#[tokio::test]
async fn the_topic_exchange_of_an_earlier_release_is_named_with_the_remedy() {
    let (connection, names) = broker().await;
    let channel = connection.create_channel().await.unwrap();
    let options = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let arguments = FieldTable::default();
    let declared = channel.exchange_declare(
        names.events.clone(),
        ExchangeKind::Topic,
        options,
        arguments,
    );
    declared.await.unwrap();
    let error = declare(&connection, &names).await.unwrap_err();
    let TopologyError::Mismatch { what, reply, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(what, &format!("exchange {}", names.events));
    assert!(reply.contains("current is 'topic'"), "{reply}");
    let line = error.to_string();
    assert!(
        line.contains("wanted (a durable direct exchange)"),
        "{line}"
    );
    assert!(line.contains("delete the exchange"), "{line}");
    delete(&connection, &names).await;
}

/// Publishes a message and waits for the broker's confirm.
async fn publish(channel: &Channel, exchange: &ShortString, key: &str) {
    let select = ConfirmSelectOptions::default();
    channel.confirm_select(select).await.unwrap();
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let exchange = exchange.clone();
    let published = channel.basic_publish(exchange, key.into(), options, b"x", properties);
    let confirmed = published.await.unwrap().await.unwrap();
    assert!(matches!(confirmed, Confirmation::Ack(None)), "unrouted");
}

/// Takes the one message of a queue, without an ack.
async fn take(channel: &Channel, queue: &ShortString) -> BasicGetMessage {
    // A returned message takes a moment to be there again.
    wait::until("a message", BOUND, async || {
        let got = channel.basic_get(queue.clone(), BasicGetOptions::default());
        match got.await.unwrap() {
            Some(message) => Seen::Reached(message),
            None => Seen::NotYet("none".into()),
        }
    })
    .await
    .unwrap()
}

/// Returns the one message of a queue 30 times, and sees that it is still there.
async fn survives_returns(channel: &Channel, queue: &ShortString) {
    for _ in 0..30 {
        let message = take(channel, queue).await;
        let requeue = BasicNackOptions {
            requeue: true,
            ..Default::default()
        };
        message.delivery.nack(requeue).await.unwrap();
    }
    take(channel, queue).await;
}

#[tokio::test]
async fn a_message_survives_any_number_of_returns() {
    let (connection, names) = broker().await;
    declare(&connection, &names).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    publish(&channel, &names.events, "invoice.paid").await;
    survives_returns(&channel, &names.worker).await;
    publish(&channel, &names.dead_exchange, "any").await;
    survives_returns(&channel, &names.dead_queue).await;
    delete(&connection, &names).await;
}

#[tokio::test]
async fn only_the_exact_types_are_bound() {
    let (connection, names) = broker().await;
    declare(&connection, &names).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let select = ConfirmSelectOptions::default();
    channel.confirm_select(select).await.unwrap();
    for key in ["invoice", "invoice.upcoming", "invoice.*", "#"] {
        let options = BasicPublishOptions {
            mandatory: true,
            ..Default::default()
        };
        let (exchange, nothing) = (names.events.clone(), BasicProperties::default());
        let published = channel.basic_publish(exchange, key.into(), options, b"x", nothing);
        let confirmed = published.await.unwrap().await.unwrap();
        assert!(matches!(confirmed, Confirmation::Ack(Some(_))), "{key}");
    }
    delete(&connection, &names).await;
}

#[tokio::test]
async fn a_queue_that_was_made_with_a_limit_is_taken_with_its_messages() {
    let (connection, names) = broker().await;
    make_queue(&connection, &names.worker, with_a_limit(&names)).await;
    let channel = connection.create_channel().await.unwrap();
    publish(&channel, &"".into(), names.worker.as_str()).await;
    for _ in 0..2 {
        let declared = declare(&connection, &names).await.unwrap();
        assert_eq!(declared, compared(&[(&names.worker, Some(20))]));
    }
    assert_eq!(take(&channel, &names.worker).await.delivery.data, b"x");
    delete(&connection, &names).await;
}

#[tokio::test]
async fn a_queue_that_differs_in_more_than_its_limit_is_not_taken() {
    let (connection, names) = broker().await;
    let mut arguments = with_a_limit(&names);
    arguments.retain(|(key, _)| *key != "x-overflow");
    make_queue(&connection, &names.worker, arguments).await;
    let error = declare(&connection, &names).await.unwrap_err();
    let line = error.to_string();
    assert!(error.is_mismatch(), "{line}");
    assert!(line.contains("inequivalent arg 'x-overflow'"), "{line}");
    delete(&connection, &names).await;
}

#[tokio::test]
async fn a_dead_letter_queue_without_a_limit_is_adopted() {
    let (connection, names) = broker().await;
    let quorum = vec![("x-queue-type", text("quorum"))];
    make_queue(&connection, &names.dead_queue, quorum).await;
    let declared = declare(&connection, &names).await.unwrap();
    assert_eq!(declared, compared(&[(&names.dead_queue, None)]));
    delete(&connection, &names).await;
}
