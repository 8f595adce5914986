//! The topology against a real broker.

use lapin::options::{
    BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Connection, ExchangeKind};
use shared::amqp::{self, AmqpUrl};
use shared::config::Env;
use shared::topology::{Names, TopologyError, declare};
use std::time::Duration;

async fn broker() -> (Connection, Names) {
    let url = AmqpUrl::from_env(&Env::from_process()).unwrap();
    let connection = amqp::connect(&url, "topology test").await.unwrap();
    let names = Names::new(&format!("t{}.", fastrand::u64(..))).unwrap();
    (connection, names)
}

/// Declares a durable queue with only these arguments.
async fn make_queue(connection: &Connection, name: &ShortString, kind: &str) {
    let channel = connection.create_channel().await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
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
    declare(&connection, &names).await.unwrap();
    declare(&connection, &names).await.unwrap();
    delete(&connection, &names).await;
}

#[tokio::test]
async fn both_services_may_declare_at_once() {
    let (connection, names) = broker().await;
    let (one, two) = tokio::join!(declare(&connection, &names), declare(&connection, &names));
    one.unwrap();
    two.unwrap();
    delete(&connection, &names).await;
}

#[tokio::test]
async fn a_queue_of_another_kind_is_named() {
    let (connection, names) = broker().await;
    make_queue(&connection, &names.worker, "classic").await;
    let error = declare(&connection, &names).await.unwrap_err();
    let line = error.to_string();
    assert!(error.is_mismatch(), "{line}");
    assert!(
        line.contains(&format!("queue {} exists", names.worker)),
        "{line}"
    );
    assert!(line.contains("inequivalent arg"), "{line}");
    assert!(line.contains("x-delivery-limit=20"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    delete(&connection, &names).await;
}

#[tokio::test]
async fn an_exchange_of_another_kind_is_named() {
    let (connection, names) = broker().await;
    let channel = connection.create_channel().await.unwrap();
    let options = ExchangeDeclareOptions::default();
    let arguments = FieldTable::default();
    let declared = channel.exchange_declare(
        names.events.clone(),
        ExchangeKind::Direct,
        options,
        arguments,
    );
    declared.await.unwrap();
    let error = declare(&connection, &names).await.unwrap_err();
    let TopologyError::Mismatch { what, reply, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(what, &format!("exchange {}", names.events));
    assert!(reply.contains("current is 'direct'"), "{reply}");
    delete(&connection, &names).await;
}

#[tokio::test]
async fn a_dead_letter_survives_any_number_of_returns() {
    let (connection, names) = broker().await;
    declare(&connection, &names).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let select = ConfirmSelectOptions::default();
    channel.confirm_select(select).await.unwrap();
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let published = channel.basic_publish(
        names.dead_exchange.clone(),
        "any".into(),
        options,
        b"x",
        properties,
    );
    published.await.unwrap().await.unwrap();
    for round in 0..30 {
        let get = async || {
            channel
                .basic_get(names.dead_queue.clone(), BasicGetOptions::default())
                .await
                .unwrap()
        };
        let mut message = get().await;
        // A returned message takes a moment to be there again.
        for _ in 0..1000 {
            if message.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
            message = get().await;
        }
        let message = message.unwrap_or_else(|| panic!("lost after {round} returns"));
        let requeue = BasicNackOptions {
            requeue: true,
            ..Default::default()
        };
        message.delivery.nack(requeue).await.unwrap();
    }
    delete(&connection, &names).await;
}

#[tokio::test]
async fn a_dead_letter_queue_without_a_limit_is_adopted() {
    let (connection, names) = broker().await;
    make_queue(&connection, &names.dead_queue, "quorum").await;
    declare(&connection, &names).await.unwrap();
    delete(&connection, &names).await;
}
