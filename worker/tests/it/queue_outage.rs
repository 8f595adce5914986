//! The worker on its queue while the broker or the database is away. Nothing is
//! lost, and nothing has its effect twice.

use crate::support::{
    Lab,
    consuming::{Worker, until_acked, until_rows},
    migrated,
    payments::nth_paid,
    running::{BOUND, properties, publish},
};
use harness::{
    private::PrivateFolder,
    proxy::Proxy,
    servers::postgres::{Postgres, PostgresOptions},
    test_servers::{TestBroker, TestDatabase},
    wait::{self, Seen},
};
use lapin::{Confirmation, options::QueueDeleteOptions};
use store::Database;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_committed_but_not_acked_comes_again_without_effect() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("ack"));
    let proxy = Proxy::before(broker.url(), 5672).await.unwrap();
    let worker = Worker::start(&broker, proxy.url(), lab.worker_url())
        .consuming()
        .await;
    proxy.stall_client();
    publish(&broker, &nth_paid(0)).await;
    until_rows(&lab, 1).await;
    let state = lab.state().await;
    proxy.cut();
    worker.stop.cancel();
    let _ = worker.task.await;

    let worker = Worker::start(&broker, broker.url(), lab.worker_url())
        .consuming()
        .await;
    publish(&broker, &nth_paid(1)).await;
    until_rows(&lab, 2).await;
    until_acked(&broker, worker).await;
    assert_eq!(lab.ledger("evt_0").await.unwrap().2, 1);
    assert!(lab.state().await.contains(&state[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_and_a_deleted_queue_are_healed() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("heal"));
    let proxy = Proxy::before(broker.url(), 5672).await.unwrap();
    let worker = Worker::start(&broker, proxy.url(), lab.worker_url())
        .consuming()
        .await;
    proxy.cut();
    publish(&broker, &nth_paid(0)).await;
    proxy.restore();
    until_rows(&lab, 1).await;

    let connection = harness::servers::rabbitmq::connect(broker.url())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let queue = broker.worker_queue();
    let options = QueueDeleteOptions::default();
    channel
        .queue_delete(queue.as_str().into(), options)
        .await
        .unwrap();
    // The worker makes it again.
    wait::until("the queue", BOUND, async || {
        match broker.depth(&queue).await {
            Ok(_) => Seen::Reached(()),
            Err(error) => Seen::NotYet(format!("{error:#}")),
        }
    })
    .await
    .unwrap();
    let again = wait::until("a routed event", BOUND, async || {
        let body = nth_paid(1).bytes();
        match broker
            .publish("invoice.paid", &body, properties(&body))
            .await
        {
            Ok(Confirmation::Ack(None)) => Seen::Reached(()),
            other => Seen::NotYet(format!("{other:?}")),
        }
    });
    again.await.unwrap();
    until_rows(&lab, 2).await;
    until_acked(&broker, worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_the_queue_holds_everything() {
    let folder = PrivateFolder::make("away").unwrap();
    let options = PostgresOptions {
        durability: harness::servers::Durability::Fast,
        ..PostgresOptions::default()
    };
    let mut postgres = Postgres::start(folder.path(), options).await.unwrap();
    let database = TestDatabase::empty_on(&postgres.url(), "away")
        .await
        .unwrap();
    let connection = Database::parse(database.url()).unwrap().connect().await;
    store::migrations::up(connection.unwrap()).await.unwrap();
    let broker = TestBroker::new("away");
    let worker = Worker::start(&broker, broker.url(), database.url())
        .consuming()
        .await;
    publish(&broker, &nth_paid(0)).await;

    postgres.kill();
    for index in 1..4 {
        publish(&broker, &nth_paid(index)).await;
    }
    postgres.start_again().await.unwrap();
    let lab = Lab::on(database).await;
    until_rows(&lab, 4).await;
    until_acked(&broker, worker).await;
    let attempts = "SELECT DISTINCT outcome || attempts FROM stripe.event";
    assert_eq!(lab.rows(attempts).await, ["applied1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_the_database_is_away_gives_everything_back() {
    let database = migrated().await;
    let proxy = Proxy::before(database.url(), 5432).await.unwrap();
    let broker = TestBroker::new("stop");
    let worker = Worker::start(&broker, broker.url(), proxy.url())
        .consuming()
        .await;
    proxy.cut();
    publish(&broker, &nth_paid(0)).await;
    let queue = broker.worker_queue();
    broker.until_depth(&queue, 0, BOUND).await.unwrap();
    worker.stop().await;
    broker.until_depth(&queue, 1, BOUND).await.unwrap();
}
