//! A broker that no longer waits for acks. RabbitMQ up to 4.2 closes the channel, 4.3
//! cancels the consumer; either way the worker consumes again.

use crate::support::{
    Lab,
    consuming::until_rows,
    payments::nth_paid,
    running::{BOUND, Running, properties, publish, until},
};
use harness::{
    private::PrivateFolder,
    servers::{RabbitMq, RabbitMqOptions, rabbitmq},
    stripe::Event,
    test_servers::TestBroker,
    wait::{self, Seen},
};
use lapin::{
    Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeleteOptions},
};
use shared::{
    amqp::AmqpUrl,
    topology::{Names, Role},
};
use worker::amqp::consumer::{Queue, SessionError};

/// A node that waits a second for an ack, and looks twice a second who is late.
async fn impatient(folder: &PrivateFolder) -> RabbitMq {
    let options = RabbitMqOptions {
        config: "consumer_timeout = 1000\n".to_owned(),
        ..RabbitMqOptions::default()
    };
    let node = RabbitMq::start(folder.path(), options).await.unwrap();
    // Channels look up to 4.2, queues from 4.3 on. The file has no lines for it.
    let often = "[application:set_env(rabbit, Interval, 500) \
                 || Interval <- [channel_tick_interval, quorum_tick_interval]].";
    node.ctl(&["eval", often]).await.unwrap();
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_that_comes_too_late_costs_a_session_and_no_event() {
    let folder = PrivateFolder::make("impatient").unwrap();
    let node = impatient(&folder).await;
    let (lab, broker) = (Lab::new().await, TestBroker::on(&node.url(), "late"));
    let worker = Running::start(&broker, lab.worker_url()).await;
    // Nothing can be committed.
    let holder = lab.database.connect().await.unwrap();
    let lock = "BEGIN; LOCK TABLE stripe.event IN ACCESS EXCLUSIVE MODE";
    holder.batch_execute(lock).await.unwrap();
    publish(&broker, &nth_paid(0)).await;
    wait::until("a session that is lost", BOUND, async || {
        match worker.metrics.sessions_lost.get() {
            0 => Seen::NotYet("none is lost".into()),
            _ => Seen::Reached(()),
        }
    })
    .await
    .unwrap();
    holder.batch_execute("ROLLBACK").await.unwrap();
    until_rows(&lab, 1).await;
    publish(&broker, &nth_paid(1)).await;
    until_rows(&lab, 2).await;
    worker.stop().await;
    broker
        .until_depth(&broker.worker_queue(), 0, BOUND)
        .await
        .unwrap();
}

async fn delete(broker: &TestBroker, queue: &str) {
    let connection = rabbitmq::connect(broker.url()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
    deleted.await.unwrap();
}

#[tokio::test]
async fn a_cancelled_consumer_ends_its_session() {
    let broker = TestBroker::new("cancelled");
    let names = Names::new(broker.prefix()).unwrap();
    let queue = Queue {
        amqp: AmqpUrl::parse(broker.url()).unwrap(),
        name: names.worker.clone(),
        names,
        connection: "test",
        prefetch: 1,
        role: Role::Consumer,
    };
    let mut session = queue.open().await.unwrap();
    delete(&broker, &broker.worker_queue()).await;
    let next = tokio::time::timeout(BOUND, session.next()).await;
    let error = next.expect("it hangs").unwrap_err();
    assert!(matches!(error, SessionError::Ended), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_of_dead_letters_is_made_and_consumed_again() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("dead-queue"));
    let worker = Running::start(&broker, lab.worker_url()).await;
    // The recorder has begun once it has written a dead letter.
    let dead = "SELECT id FROM stripe.dead_letter ORDER BY id";
    publish_dead(&broker, &nth_paid(0)).await;
    until(&lab.client, dead, "evt_0").await;
    delete(&broker, &broker.dead()).await;
    wait::until("a queue of dead letters", BOUND, async || {
        match broker.depth(&broker.dead()).await {
            Ok(_) => Seen::Reached(()),
            Err(error) => Seen::NotYet(format!("{error:#}")),
        }
    })
    .await
    .unwrap();
    // The binding follows the queue.
    wait::until(
        "a routed dead letter",
        BOUND,
        async || match publish_dead(&broker, &nth_paid(1)).await {
            Confirmation::Ack(None) => Seen::Reached(()),
            other => Seen::NotYet(format!("{other:?}")),
        },
    )
    .await
    .unwrap();
    until(&lab.client, dead, "evt_0; evt_1").await;
    worker.stop().await;
}

/// Publishes an event to the dead letters, as the broker does.
async fn publish_dead(broker: &TestBroker, event: &Event) -> Confirmation {
    let connection = rabbitmq::connect(broker.url()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let select = ConfirmSelectOptions::default();
    channel.confirm_select(select).await.unwrap();
    let mandatory = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let (exchange, body) = (broker.dead().into(), event.bytes());
    let sent = channel.basic_publish(
        exchange,
        event.kind.as_str().into(),
        mandatory,
        &body,
        properties(&body),
    );
    sent.await.unwrap().await.unwrap()
}
