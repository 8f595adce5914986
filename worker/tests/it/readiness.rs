//! `/readyz` of the worker: red without a consumer, and when nothing is committed though there
//! is something to do; green again after.

use std::time::Duration;

use harness::{
    test_servers::TestBroker,
    wait::{self, Seen},
};
use tokio::time::Instant;
use worker::{
    health::{Health, STUCK_AFTER},
    service::ready,
};

use crate::support::{
    Lab,
    consuming::{Worker, until_acked, until_rows},
    payments::nth_paid,
    running::{BOUND, declare, publish},
};

/// Waits until so many deliveries are in hand.
async fn until_in_hand(health: &Health, count: usize) {
    wait::until(format!("{count} in hand"), BOUND, async || {
        match health.in_hand() {
            seen if seen == count => Seen::Reached(()),
            seen => Seen::NotYet(format!("{seen} in hand")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_commits_nothing_for_long_is_not_ready_and_says_why() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("stuck"));
    let pool = lab.executor.pool.clone();
    declare(&broker).await;
    let ready_at = async |health: &Health, later: Duration| {
        let now = Instant::now() + later;
        ready(pool.clone(), health.clone(), now).await
    };
    let none = ready_at(&Health::default(), Duration::ZERO).await;
    assert_eq!(none.unwrap_err(), "the queue is not being consumed");

    let worker = Worker::start(&broker, broker.url(), lab.worker_url());
    let worker = worker.consuming().await;
    let (health, later) = (worker.health.clone(), STUCK_AFTER * 2);
    // Nothing is in hand: nothing has to be committed.
    assert_eq!(ready_at(&health, later).await, Ok(()));

    let holder = lab.database.connect().await.unwrap();
    let lock = "BEGIN; LOCK TABLE stripe.event IN ACCESS EXCLUSIVE MODE";
    holder.batch_execute(lock).await.unwrap();
    publish(&broker, &nth_paid(0)).await;
    until_in_hand(&health, 1).await;
    assert_eq!(ready_at(&health, Duration::ZERO).await, Ok(()));
    let why = ready_at(&health, later).await.unwrap_err();
    assert!(why.starts_with("nothing was committed for "), "{why}");
    assert!(why.ends_with(" s though deliveries are in hand"), "{why}");

    holder.batch_execute("COMMIT").await.unwrap();
    until_rows(&lab, 1).await;
    until_in_hand(&health, 0).await;
    assert_eq!(ready_at(&health, later).await, Ok(()));
    assert!(health.last_commit().is_some());
    until_acked(&broker, worker).await;
    let stopped = ready_at(&health, Duration::ZERO).await;
    assert_eq!(stopped.unwrap_err(), "the queue is not being consumed");
}
