//! What Stripe answered to commands is taken in together, whoever waits for it.

use domain::outcome::Decision;
use futures_util::{FutureExt, future::join_all};
use harness::{
    stripe_api::{Options, StandIn},
    wait::{self, Seen},
};
use serde_json::json;
use store::{Connection, Database, Error, outbox::Outbox};
use worker::{
    commands::telling::{NotTaken, Telling},
    jobs::read_accounts,
};

use crate::support::{
    APPLIED, Lab, delivery,
    desk::client,
    invoices::{event, invoice},
    running::BOUND,
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
    let telling = Telling::start(lab.executor.clone(), lab.executor.pool.clone(), Outbox::Off);
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

/// Sixty hosts are made an account while another writes: all have their rows behind it, and
/// those who wait hold no connection. Two answers about one account are the first of them.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_are_told_while_another_writes_are_one_transaction() {
    let (lab, telling, mut other) = setup().await;
    let api = StandIn::start(Options::default()).await.unwrap();
    let (pool, client) = (&lab.executor.pool, client(&api, "sk_test_standin", None));
    let mut read = Vec::new();
    for number in 0..TOLD {
        let host = json!({ "hostId": format!("host-{number}") });
        let id = api.enabled_account("ES", &host).into();
        for _ in 0..=usize::from(number == 0) {
            read.push(read_accounts::ask(pool, &client, &id).await.unwrap());
        }
    }
    let told = read.into_iter().map(|one| telling.tell_account(one));
    let mut told = Box::pin(join_all(told));
    let writing = store::write(&mut other, async |_| {
        assert_eq!((&mut told).now_or_never(), None, "the lock is held");
        // One connection is enough for all.
        wait::until("a wait for the lock", BOUND, async || {
            let state = pool.state();
            match state.connections - state.idle_connections {
                1 => Seen::Reached(()),
                used => Seen::NotYet(format!("{used} connections are used")),
            }
        })
        .await
        .unwrap();
        Ok::<(), Error>(())
    });
    writing.await.unwrap();
    let kept = told.await;
    assert!(kept.iter().all(Result::is_ok), "{kept:?}");
    let transactions = r#"SELECT concat_ws(' ', count(*), count(DISTINCT xmin::text) <= 2,
        count(*) FILTER (WHERE "canSell")) FROM "HostOnboarding""#;
    let seen = lab.rows(transactions).await;
    assert_eq!(seen, [format!("{TOLD} t {TOLD}")]);
}

/// Who cannot reach the database hears so, and the next try is done.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_cannot_be_kept_is_said_to_each_who_told_it() {
    let (lab, telling, _other) = setup().await;
    let api = StandIn::start(Options::default()).await.unwrap();
    let (pool, client) = (&lab.executor.pool, client(&api, "sk_test_standin", None));
    let id = api.enabled_account("ES", &json!({ "hostId": "42" })).into();
    let read = async || read_accounts::ask(pool, &client, &id).await.unwrap();
    let (first, second) = (read().await, read().await);
    let hide = "ALTER TABLE stripe.account RENAME TO hidden";
    lab.client.batch_execute(hide).await.unwrap();
    let told = join_all([telling.tell_account(first), telling.tell_account(second)]).await;
    let codes = told.into_iter().map(|one| one.unwrap_err().code);
    assert_eq!(codes.collect::<Vec<_>>(), ["database_unavailable"; 2]);
    let show = "ALTER TABLE stripe.hidden RENAME TO account";
    lab.client.batch_execute(show).await.unwrap();
    telling.tell_account(read().await).await.unwrap();
    let hosts = r#"SELECT "hostId" FROM "HostOnboarding""#;
    assert_eq!(lab.rows(hosts).await, ["42"]);
}
