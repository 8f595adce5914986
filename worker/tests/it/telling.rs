//! What Stripe answered to commands is taken in together, whoever waits for it.

use domain::outcome::Decision;
use futures_util::{
    FutureExt,
    future::{join, join_all, join3},
};
use harness::{
    stripe::thin_event,
    stripe_api::{Options, StandIn},
    wait::{self, Seen},
};
use serde_json::json;
use store::{Connection, Database, Error, Pool, outbox::Outbox};
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
        until_used(pool, 1).await;
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

/// The row of one is locked by somebody: that one waits, and those that were told with it do
/// not.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way_of_one_does_not_hold_up_the_others() {
    let (lab, telling, mut other) = setup().await;
    let api = StandIn::start(Options::default()).await.unwrap();
    let (pool, client) = (&lab.executor.pool, client(&api, "sk_test_standin", None));
    let [first, held, free] =
        ["first", "held", "free"].map(|host| api.enabled_account("ES", &json!({ "hostId": host })));
    // It has a row, and how it is has to be read.
    let thin = thin_event("evt_thin", "v2.core.account.created", &held);
    let bodies = bodies();
    lab.take_bytes(&[thin, bodies[1].clone()]).await;
    let ask = async |id: &String| {
        let id = id.clone().into();
        read_accounts::ask(pool, &client, &id).await.unwrap()
    };
    let (first, of_held, of_free) = (ask(&first).await, ask(&held).await, ask(&free).await);
    let mut void = invoice("void", Some("2"));
    void["id"] = json!("in_1");
    let void = event("evt_void", "invoice.voided", void).bytes();
    let holder = lab.database.connect().await.unwrap();
    let rows =
        "BEGIN; SELECT FROM stripe.account FOR UPDATE; SELECT FROM stripe.invoice FOR UPDATE";
    holder.batch_execute(rows).await.unwrap();

    // While these two wait for the lock, the others come together.
    let mut firsts = Box::pin(join(
        telling.tell(delivery(&bodies[0])),
        telling.tell_account(first),
    ));
    let others = async {
        let (session, account, of_held) = Box::pin(join3(
            telling.tell(delivery(&bodies[2])),
            telling.tell_account(of_free),
            telling.tell_account(of_held),
        ))
        .await;
        assert_eq!((session, account), (Ok(APPLIED), Ok(())));
        assert_eq!(of_held.unwrap_err().code, "database_unavailable");
        holder.batch_execute("COMMIT").await.unwrap();
    };
    let mut all = Box::pin(join(telling.tell(delivery(&void)), others));
    let writing = store::write(&mut other, async |_| {
        assert_eq!((&mut firsts).now_or_never(), None);
        until_used(pool, 2).await;
        assert_eq!((&mut all).now_or_never(), None);
        Ok::<(), Error>(())
    });
    writing.await.unwrap();
    let (firsts, (void, ())) = join(firsts, all).await;
    assert_eq!(firsts, (Ok(APPLIED), Ok(())));
    assert_eq!(void, Ok(APPLIED));
    let hosts = r#"SELECT "hostId" FROM "HostOnboarding" WHERE "hostId" IS NOT NULL ORDER BY 1"#;
    assert_eq!(lab.rows(hosts).await, ["first", "free"]);
}

async fn until_used(pool: &Pool, wanted: u32) {
    wait::until("connections in use", BOUND, async || {
        let state = pool.state();
        match state.connections - state.idle_connections {
            used if used == wanted => Seen::Reached(()),
            used => Seen::NotYet(format!("{used} connections are used")),
        }
    })
    .await
    .unwrap();
}
