//! What the main app does to a whole transaction: errors that look like the database's own, a
//! session that ends, a refusal that comes only at the commit, settings that a trigger leaves
//! behind, and a query that fails for one booking. Events are applied all the same, and only the
//! row concerned is pending.

use std::time::Duration;

use domain::outcome::Decision;
use harness::{
    proxy::Proxy,
    stripe::{Account, Event},
    test_servers::roles::{self, WORKER},
};

use crate::support::{APPLIED, Lab, migrated, payments::nth_paid, running::BOUND};

/// The rows of `"Invoice"`, in short.
const SHOWN: &str = r#"SELECT concat_ws(' ', "bookingId", "stripeInvoiceId", "status")
    FROM "Invoice" ORDER BY "bookingId""#;

const SAID: &str = "SELECT detail FROM stripe.pending_projection ORDER BY kind, id";

/// A trigger of `$table`'s that does `$what` where its row is the one in question.
fn trigger(table: &str, which: &str, what: &str) -> String {
    format!(
        r#"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF {which} THEN {what}; END IF; RETURN NEW; END $$;
           CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON "{table}"
            FOR EACH ROW EXECUTE FUNCTION refuse()"#
    )
}

const BOOKING_TWO: &str = r#"NEW."bookingId" = 2"#;

/// Does `what` at the commit, where a row of `table` is written for which `which` is true. The
/// worker has deferred triggers run within its savepoint. One that defers all of them again while
/// it is run leaves the next one to the commit.
fn at_commit(table: &str, which: &str, what: &str) -> String {
    let defer = |trigger: &str, on: &str, which: &str, what: &str| {
        format!(
            r#"CREATE FUNCTION {trigger}() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN SET CONSTRAINTS ALL DEFERRED; {what}; RETURN NULL; END $$;
            CREATE CONSTRAINT TRIGGER {trigger} AFTER INSERT OR UPDATE ON "{on}"
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ({which})
                EXECUTE FUNCTION {trigger}();"#
        )
    };
    [
        "CREATE TABLE late (id integer); CREATE TABLE later (id integer); \
         CREATE TABLE seen (held text); GRANT ALL ON late, later, seen TO PUBLIC;",
        &defer("first", table, which, "INSERT INTO late VALUES (1)"),
        &defer("second", "late", "true", "INSERT INTO later VALUES (1)"),
        &defer("third", "later", "true", what),
    ]
    .concat()
}

const REFUSE: &str = "RAISE 'not at the commit' USING ERRCODE = '23514'";

fn host(id: &str, account: &str) -> Event {
    let object = Account {
        id: account.into(),
        ..Account::default()
    };
    Event::new(id, "account.updated", object.value()).of_account(account)
}

/// Makes a function that ends the session that calls it, as a crash of the server's process does.
/// The worker's role may not.
const END_SESSION: &str = "CREATE FUNCTION end_session() RETURNS boolean SECURITY DEFINER
    LANGUAGE sql AS 'SELECT pg_terminate_backend(pg_backend_pid())'";

/// As [`Lab::take`], within a bound: an event that is held up would be waited for without one.
async fn take(lab: &Lab, events: &[Event]) -> Vec<Decision> {
    tokio::time::timeout(BOUND, lab.take(events)).await.unwrap()
}

async fn sql(lab: &Lab, statements: &str) {
    lab.client.batch_execute(statements).await.unwrap();
}

/// Postgres says the same of a database that takes no writes.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_says_that_nothing_is_written_is_the_rows() {
    let lab = Lab::new().await;
    let raise = "RAISE 'maintenance' USING ERRCODE = 'read_only_sql_transaction'";
    sql(&lab, &trigger("Invoice", BOOKING_TWO, raise)).await;
    let events: Vec<Event> = (0..3).map(nth_paid).collect();
    assert_eq!(lab.take(&events).await, [APPLIED, APPLIED, APPLIED]);
    assert_eq!(lab.rows(SHOWN).await, ["1 in_0 PAID", "3 in_2 PAID"]);
    assert_eq!(lab.pending().await, ["booking 2 refused 1"]);
    assert_eq!(lab.rows(SAID).await, ["maintenance"]);
    sql(&lab, r#"DROP TRIGGER refuse ON "Invoice""#).await;
    lab.project_pending().await;
    assert_eq!(lab.pending().await, Vec::<String>::new());
    assert_eq!(lab.rows(SHOWN).await.len(), 3);
}

/// As the one before, where it comes only at the commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_says_that_nothing_is_written_holds_up_no_event() {
    let lab = Lab::new().await;
    let raise = "RAISE 'maintenance' USING ERRCODE = 'read_only_sql_transaction'";
    sql(&lab, &at_commit("Invoice", BOOKING_TWO, raise)).await;
    let events: Vec<Event> = (0..3).map(nth_paid).collect();
    assert_eq!(take(&lab, &events).await, [APPLIED, APPLIED, APPLIED]);
    lab.project_pending().await;
    assert_eq!(lab.rows(SHOWN).await, ["1 in_0 PAID", "3 in_2 PAID"]);
    assert_eq!(lab.pending().await, ["booking 2 refused 1"]);
    assert_eq!(lab.rows(SAID).await, ["maintenance"]);
    sql(&lab, r#"DROP TRIGGER first ON "Invoice""#).await;
    lab.project_pending().await;
    assert_eq!(lab.pending().await, Vec::<String>::new());
    assert_eq!(lab.rows(SHOWN).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_ends_its_session_holds_up_no_event() {
    let lab = Lab::new().await;
    sql(&lab, END_SESSION).await;
    let end = trigger("Invoice", BOOKING_TWO, "PERFORM end_session()");
    sql(&lab, &end).await;
    let events: Vec<Event> = (0..3).map(nth_paid).collect();
    assert_eq!(take(&lab, &events).await, [APPLIED, APPLIED, APPLIED]);
    // It did not show which row it is: the job finds it.
    lab.project_pending().await;
    assert_eq!(lab.rows(SHOWN).await, ["1 in_0 PAID", "3 in_2 PAID"]);
    assert_eq!(lab.pending().await, ["booking 2 session_ended 1"]);
    let pause =
        "SELECT (next_try_at > now() + interval '25 s')::text FROM stripe.pending_projection";
    assert_eq!(lab.rows(pause).await, ["true"]);
    // A further event of it, and a stranger's, lose no session.
    let mut again = nth_paid(1);
    again.id = "evt_again".into();
    take(&lab, &[again, nth_paid(3)]).await;
    lab.project_pending().await;
    assert_eq!(lab.rows(SHOWN).await.len(), 3);
    assert_eq!(lab.pending().await, ["booking 2 session_ended 2"]);
    sql(&lab, r#"DROP TRIGGER refuse ON "Invoice""#).await;
    lab.project_pending().await;
    assert_eq!(lab.pending().await, Vec::<String>::new());
    assert_eq!(lab.rows(SHOWN).await.len(), 4);
}

/// Else the rows of an outage would come late.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_away_leaves_no_row_pending() {
    let database = migrated().await;
    let client = database.connect().await.unwrap();
    roles::grant(&client).await.unwrap();
    let url = roles::url_as(database.url(), WORKER);
    let proxy = Proxy::before(&url, 5432).await.unwrap();
    let lab = Lab::with_url(database, proxy.url().into()).await;
    take(&lab, &[nth_paid(0)]).await;
    let events: Vec<Event> = (1..4).map(nth_paid).collect();
    proxy.cut();
    let away = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.restore();
    };
    let (decisions, ()) = tokio::join!(take(&lab, &events), away);
    assert_eq!(decisions, [APPLIED, APPLIED, APPLIED]);
    assert_eq!(lab.pending().await, Vec::<String>::new());
    assert_eq!(lab.rows(SHOWN).await.len(), 4);
}

/// The deployment's query can be what ends the session.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_ends_its_session_holds_up_no_event() {
    let mut lab = Lab::with_bookings(&[1, 2, 3]).await;
    sql(&lab, END_SESSION).await;
    let query = "SELECT CASE WHEN $1 = 2 THEN end_session()::text ELSE 'acct_h' END";
    lab.executor.owner_query = Some(query.into());
    let events: Vec<Event> = (0..3)
        .map(|index| nth_paid(index).of_account("acct_h"))
        .collect();
    assert_eq!(take(&lab, &events).await, [APPLIED, APPLIED, APPLIED]);
    lab.project_pending().await;
    assert_eq!(lab.rows(SHOWN).await, ["1 in_0 PAID", "3 in_2 PAID"]);
    assert_eq!(lab.pending().await, ["booking 2 session_ended 1"]);
    lab.executor.owner_query = Some("SELECT 'acct_h'".into());
    lab.project_pending().await;
    lab.project_pending().await;
    assert_eq!(lab.rows(SHOWN).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_at_the_commit_holds_up_no_event() {
    let lab = Lab::new().await;
    sql(&lab, &at_commit("Invoice", BOOKING_TWO, REFUSE)).await;
    let events: Vec<Event> = (0..3).map(nth_paid).collect();
    assert_eq!(lab.take(&events).await, [APPLIED, APPLIED, APPLIED]);
    // It did not show which row it is: the job finds it.
    lab.project_pending().await;
    assert_eq!(lab.rows(SHOWN).await, ["1 in_0 PAID", "3 in_2 PAID"]);
    assert_eq!(lab.pending().await, ["booking 2 check 1"]);
    assert_eq!(lab.rows(SAID).await, ["not at the commit"]);
    // No event is condemned for it.
    assert_eq!(
        lab.rows("SELECT event_id FROM stripe.dead_letter").await,
        Vec::<String>::new()
    );
    sql(&lab, r#"DROP TRIGGER first ON "Invoice""#).await;
    lab.project_pending().await;
    assert_eq!(lab.pending().await, Vec::<String>::new());
    assert_eq!(lab.rows(SHOWN).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_refused_at_the_commit_holds_up_no_event() {
    let lab = Lab::new().await;
    let which = r#"NEW."stripeAccountId" = 'acct_h'"#;
    sql(&lab, &at_commit("HostOnboarding", which, REFUSE)).await;
    let events = [
        host("evt_h", "acct_h"),
        host("evt_i", "acct_i"),
        nth_paid(0),
    ];
    assert_eq!(lab.take(&events).await, [APPLIED, APPLIED, APPLIED]);
    lab.project_pending().await;
    assert_eq!(lab.rows(SHOWN).await, ["1 in_0 PAID"]);
    assert_eq!(lab.hosts().await.len(), 1);
    assert_eq!(lab.pending().await, ["host acct_h check 1"]);
    sql(&lab, r#"DROP TRIGGER first ON "HostOnboarding""#).await;
    lab.project_pending().await;
    assert_eq!(lab.hosts().await.len(), 2);
    assert_eq!(lab.pending().await, Vec::<String>::new());
}

/// Else an event would be acked before it is on disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_makes_commits_asynchronous_does_so_for_nobody() {
    for is_local in [true, false] {
        let lab = Lab::new().await;
        let set = format!("PERFORM set_config('synchronous_commit', 'off', {is_local})");
        sql(&lab, &trigger("Invoice", "true", &set)).await;
        let look = "INSERT INTO seen VALUES (current_setting('synchronous_commit'))";
        sql(&lab, &at_commit("Invoice", "true", look)).await;
        lab.take(&[nth_paid(0)]).await;
        assert_eq!(lab.rows(SHOWN).await, ["1 in_0 PAID"], "{is_local}");
        assert_eq!(
            lab.rows("SELECT held FROM seen").await,
            ["on"],
            "{is_local}"
        );
        let conn = lab.executor.pool.get().await.unwrap();
        let held = store::session::setting(&conn, "synchronous_commit").await;
        assert_eq!(held.unwrap(), "on", "{is_local}");
    }
}

/// A booking of which the deployment's query cannot say whose it is delays itself alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_fails_for_one_booking_delays_no_other() {
    let fails_for_two = "SELECT (SELECT one FROM unnest(\
        CASE WHEN $1 = 2 THEN ARRAY['acct_h', 'acct_i'] ELSE ARRAY['acct_h'] END) AS one)";
    let mut lab = Lab::with_bookings(&[1, 2, 3, 4, 5, 6, 7]).await;
    lab.executor.owner_query = Some(fails_for_two.into());
    let events: Vec<Event> = (0..7)
        .map(|index| nth_paid(index).of_account("acct_h"))
        .collect();
    assert_eq!(lab.take(&events).await, [APPLIED; 7]);
    let shown: Vec<String> = [1, 3, 4, 5, 6, 7]
        .map(|id| format!("{id} in_{} PAID", id - 1))
        .into();
    assert_eq!(lab.rows(SHOWN).await, shown);
    assert_eq!(lab.pending().await, ["booking 2 refused 1"]);
    // The next event's booking is read at once: nobody else leaves the tables alone.
    lab.book(8).await;
    lab.take(&[nth_paid(7).of_account("acct_h")]).await;
    assert_eq!(lab.pending().await, ["booking 2 refused 1"]);
    lab.executor.owner_query = Some("SELECT 'acct_h'".into());
    lab.project_pending().await;
    lab.project_pending().await;
    assert_eq!(lab.rows(SHOWN).await.len(), 8);
    assert_eq!(lab.pending().await, Vec::<String>::new());
}

/// The main app can keep what the worker cannot read.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_delays_no_other() {
    let lab = Lab::new().await;
    let events: Vec<Event> = (0..3).map(nth_paid).collect();
    lab.take(&events).await;
    sql(
        &lab,
        r#"UPDATE "Invoice" SET "createdAt" = 'infinity' WHERE "bookingId" = 2"#,
    )
    .await;
    let again: Vec<Event> = (0..3)
        .map(|index| {
            let mut event = nth_paid(index);
            event.id = format!("evt_again_{index}");
            event.created += 10;
            event.object["total"] = 4321.into();
            event
        })
        .collect();
    lab.take(&again).await;
    let amounts = r#"SELECT "amount"::float8::text FROM "Invoice" ORDER BY "bookingId""#;
    let amounts = lab.rows(amounts).await;
    assert_eq!((&*amounts[0], &*amounts[2]), ("43.21", "43.21"));
    assert_ne!(amounts[1], "43.21");
    assert_eq!(lab.pending().await, ["booking 2 refused 1"]);
}
