//! An event at which the database fails each time with an error that nobody knows is given up;
//! an error that passes, or that every event meets, condemns none.

use std::time::Duration;

use crate::{
    crashes::return_all,
    support::{
        APPLIED, Lab, dead_code, delivery,
        payments::nth_paid,
        running::{BOUND, LETTERS, Running, declare, publish, until},
    },
};
use domain::outcome::Decision;
use harness::{
    stripe::{Account, Event},
    test_servers::TestBroker,
};
use tokio_util::sync::CancellationToken;
use worker::pipeline::executor::Disposition;

/// Long enough for many more tries than an event has.
const LONG: Duration = Duration::from_secs(8);

/// Has `table` of the worker's own fail with an error of no known kind, where `which` is true.
async fn fail(lab: &Lab, which: &str) {
    let statements = format!(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF {which} THEN RAISE 'so it is'; END IF; RETURN NEW; END $$;
         CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON stripe.invoice
            FOR EACH ROW EXECUTE FUNCTION fail()"
    );
    lab.client.batch_execute(&statements).await.unwrap();
}

async fn mend(lab: &Lab) {
    let drop = "DROP TRIGGER fail ON stripe.invoice";
    lab.client.batch_execute(drop).await.unwrap();
}

const SECOND: &str = "NEW.id = 'in_1'";

/// Takes events as one batch, within a bound.
async fn take(lab: &Lab, events: &[Event]) -> Vec<Decision> {
    tokio::time::timeout(BOUND, lab.take(events)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_alone_meets_an_unknown_error_is_given_up_and_can_be_replayed() {
    let lab = Lab::new().await;
    fail(&lab, SECOND).await;
    let events: Vec<Event> = (0..3).map(nth_paid).collect();
    let decisions = take(&lab, &events).await;
    assert_eq!((&decisions[0], &decisions[2]), (&APPLIED, &APPLIED));
    assert_eq!(dead_code(&decisions[1]), "refused_by_database");
    let letters = "SELECT event_id || ' ' || reason || ' ' || detail FROM stripe.dead_letter";
    let said = "evt_1 refused_by_database Postgres refused a value of the event: an error that \
        this event alone meets, each time that it is tried.";
    assert_eq!(lab.rows(letters).await, [said]);
    // No trace is left of what was tried in its place.
    assert_eq!(
        lab.rows("SELECT id FROM stripe.event ORDER BY 1").await,
        ["evt_0", "evt_1", "evt_2"]
    );
    mend(&lab).await;
    assert_eq!(take(&lab, &events[1..2]).await, [APPLIED]);
    assert_eq!(lab.invoices().await.len(), 3);
}

/// What every event meets is the operator's to mend: a right or a column that is missing.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_every_event_meets_condemns_none() {
    let lab = Lab::new().await;
    fail(&lab, "true").await;
    waits_and_is_applied(&lab, mend(&lab)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_while_others_hold_rows_condemns_no_event() {
    let lab = Lab::new().await;
    take(&lab, &[nth_paid(0)]).await;
    fail(&lab, SECOND).await;
    let holder = lab.database.connect().await.unwrap();
    let lock = "BEGIN; SELECT FROM stripe.invoice WHERE id = 'in_0' FOR UPDATE";
    holder.batch_execute(lock).await.unwrap();
    waits_and_is_applied(&lab, async {
        // The table cannot be mended before.
        holder.batch_execute("ROLLBACK").await.unwrap();
        mend(&lab).await;
    })
    .await;
}

/// An operator alters a table, or looks at a row, for longer than the tries of an event take.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_an_operators_condemns_no_event() {
    for lock in [
        "LOCK TABLE stripe.invoice",
        "SELECT FROM stripe.invoice WHERE id = 'in_1' FOR UPDATE",
    ] {
        let lab = Lab::new().await;
        take(&lab, &[nth_paid(1)]).await;
        let holder = lab.database.connect().await.unwrap();
        let begin = format!("BEGIN; {lock}");
        holder.batch_execute(&begin).await.unwrap();
        let release = async { holder.batch_execute("ROLLBACK").await.unwrap() };
        waits_and_is_applied(&lab, release).await;
    }
}

/// An event of the second invoice waits until `mended`, and is applied then.
async fn waits_and_is_applied(lab: &Lab, mended: impl Future<Output = ()>) {
    let mut event = nth_paid(1);
    event.id = "evt_waits".into();
    event.created += 10;
    event.object["total"] = 4321.into();
    let (deliveries, stop) = ([delivery(&event.bytes())], CancellationToken::new());
    let taken = lab.executor.execute(&deliveries, &stop);
    let later = async {
        tokio::time::sleep(LONG).await;
        let decided = "SELECT id FROM stripe.event WHERE id = 'evt_waits'";
        assert_eq!(lab.rows(decided).await, Vec::<String>::new());
        mended.await;
    };
    let (taken, ()) = tokio::join!(tokio::time::timeout(BOUND, taken), later);
    assert_eq!(taken.unwrap().unwrap(), [Disposition::Ack(APPLIED)]);
}

/// As the first, where it came back to the queue so often that it is handled alone.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_handled_alone_is_given_up_as_well() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("unknown"));
    declare(&broker).await;
    fail(&lab, SECOND).await;
    for number in 0..2 {
        publish(&broker, &nth_paid(number)).await;
    }
    return_all(&broker, 2, 3).await;
    let worker = Running::start(&broker, lab.worker_url()).await;
    until(&lab.client, LETTERS, "evt_1 refused_by_database dead 1").await;
    until(&lab.client, "SELECT id FROM stripe.invoice", "in_0").await;
    until(
        &lab.client,
        "SELECT count(*)::text FROM stripe.crash_note",
        "0",
    )
    .await;
    worker.stop().await;
}

/// A value of metadata that Postgres cannot keep in an index.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_id_that_no_index_takes_is_refused_by_name() {
    let lab = Lab::new().await;
    let host: String = (0..8180).map(|_| fastrand::alphanumeric()).collect();
    let object = Account {
        id: "acct_a".into(),
        ..Account::default()
    };
    let mut object = object.value();
    object["metadata"] = serde_json::json!({ "hostId": host });
    let event = Event::new("evt_long", "account.updated", object).of_account("acct_a");
    let decisions = take(&lab, &[event, nth_paid(0)]).await;
    assert_eq!(dead_code(&decisions[0]), "text_too_long");
    assert_eq!(decisions[1], APPLIED);
}
