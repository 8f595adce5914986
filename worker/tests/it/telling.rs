//! What commands tell the pipeline is taken in together, whoever waits for it.

use domain::outcome::Decision;
use futures_util::{FutureExt, future::join_all};
use serde_json::json;
use store::{Connection, Database, Error};
use worker::commands::telling::{NotTaken, Telling};

use crate::support::{
    APPLIED, Lab, delivery,
    invoices::{event, invoice},
};

const TOLD: usize = 60;

/// Sixty events, of one invoice each.
fn bodies() -> Vec<Vec<u8>> {
    let one = |number: usize| {
        let mut object = invoice("paid", Some(&(number + 1).to_string()));
        object["id"] = json!(format!("in_{number}"));
        event(&format!("evt_{number}"), "invoice.paid", object).bytes()
    };
    (0..TOLD).map(one).collect()
}

/// A worker, where its commands tell something, and another writer's connection.
async fn setup() -> (Lab, Telling, Connection) {
    let lab = Lab::new().await;
    let telling = Telling::start(lab.executor.clone());
    let other = Database::parse(lab.database.url()).unwrap().connect().await;
    (lab, telling, other.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_while_another_writes_is_one_transaction() {
    let (lab, telling, mut other) = setup().await;
    let bodies = bodies();
    let told = bodies.iter().map(|body| telling.tell(delivery(body)));
    let mut told = Box::pin(join_all(told));
    let writing = store::write(&mut other, async |_| {
        assert_eq!((&mut told).now_or_never(), None, "the lock is held");
        Ok::<(), Error>(())
    });
    writing.await.unwrap();
    let taken: Vec<Result<Decision, NotTaken>> = told.await;
    assert!(taken.iter().all(|one| *one == Ok(APPLIED)), "{taken:?}");
    // Those that the first one did not take with it went together.
    let transactions =
        "SELECT concat(count(*), ' in ', count(DISTINCT xmin::text) <= 2) FROM stripe.event";
    assert_eq!(lab.rows(transactions).await, [format!("{TOLD} in t")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_is_taken_in_although_the_caller_has_gone() {
    let (lab, telling, mut other) = setup().await;
    let bodies = bodies();
    let (last, others) = bodies.split_last().unwrap();
    let told = others.iter().map(|body| telling.tell(delivery(body)));
    let mut told = Box::pin(join_all(told));
    let writing = store::write(&mut other, async |_| {
        assert_eq!((&mut told).now_or_never(), None, "the lock is held");
        drop(told);
        Ok::<(), Error>(())
    });
    writing.await.unwrap();
    assert_eq!(telling.tell(delivery(last)).await, Ok(APPLIED));
    let events = lab.rows("SELECT count(*)::text FROM stripe.event").await;
    assert_eq!(events, [TOLD.to_string()]);
}
