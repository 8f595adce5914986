//! An existing database is upgraded with its rows: they are carried over to the new names,
//! and the worker goes on with them as if it had written them itself.

use crate::support::{
    Lab, STALE,
    claims::OWNER_QUERY,
    invoices::{HOST, paid},
    migrating::{count, run, up},
};
use chrono::DateTime;
use harness::{
    stripe::{Account, Event},
    test_servers::TestDatabase,
};
use store::{archive, archive_page};

/// The migrations of the release whose rows are carried over.
const BEFORE: usize = 5;

const BOOKINGS: &str = r#"
    CREATE TABLE "Booking" ("id" SERIAL PRIMARY KEY, "account" TEXT);
    INSERT INTO "Booking" VALUES (1, 'acct_host');
"#;

/// Rows as the release before left them.
const ROWS: &str = r#"
    INSERT INTO stripe.event (id, type, account, created, object_id, outcome, reason, claimed_booking_id) VALUES
        ('evt_missing', 'invoice.paid', 'acct_host', now(), 'in_missing', 'waiting', 'booking_missing', 7),
        ('evt_unknown', 'invoice.paid', 'acct_host', now(), 'in_unknown', 'waiting', 'owner_unknown', 8),
        ('evt_session', 'checkout.session.completed', 'acct_host', now(), 'cs_unknown', 'waiting', 'owner_unknown', 9),
        ('evt_lone', 'invoice.paid', 'acct_host', now(), 'in_lone', 'waiting', 'no_booking', NULL),
        ('evt_dead', 'invoice.paid', 'acct_host', now(), NULL, 'dead', 'unknown_status', NULL);
    INSERT INTO stripe.invoice (id, account, claimed_booking_id, booking_id, status, total, currency,
            created, event_created, event_id, waiting) VALUES
        ('in_missing', 'acct_host', 7, NULL, 'paid', 4500, 'eur', now(), now(), 'evt_missing', 'owner_unknown'),
        ('in_unknown', 'acct_host', 8, NULL, 'paid', 4500, 'eur', now(), now(), 'evt_unknown', 'owner_unknown'),
        -- The ledger has forgotten its event.
        ('in_forgotten', 'acct_host', 10, NULL, 'open', 900, 'eur', now(), now(), 'evt_gone', 'owner_unknown'),
        ('in_lone', 'acct_host', NULL, NULL, 'paid', 100, 'eur', now(), now(), 'evt_lone', 'no_booking');
    INSERT INTO stripe.checkout_session (id, account, claimed_booking_id, payment_status, status,
            event_created, event_id) VALUES
        ('cs_unknown', 'acct_host', 9, 'paid', 'complete', now(), 'evt_session');
    INSERT INTO stripe.booking_claim VALUES
        (7, 'acct_host', 'invoice', 'in_missing', now(), 'evt_missing'),
        (8, 'acct_host', 'invoice', 'in_unknown', now(), 'evt_unknown'),
        (9, 'acct_host', 'session', 'cs_unknown', now(), 'evt_session'),
        (10, 'acct_host', 'invoice', 'in_forgotten', now(), 'evt_gone');
    INSERT INTO stripe.account_transition (account_id, event_created, event_id, sign)
        VALUES ('acct_host', now(), 'evt_a', 'authorized');
    INSERT INTO stripe.dead_letter (id, routing_key, body, properties, reason, detail, origin, mark,
            first_at, last_at)
        VALUES ('evt_dead', 'invoice.paid', '{}', '{}', 'unknown_status', '', 'worker', 'verdict:1', now(), now());
    INSERT INTO stripe.replay (kind, replayed_by, selection) VALUES ('events', 'ada', 'all');
    INSERT INTO stripe.replay_item (replay_id, item_id, outcome, reason, judged_at)
        VALUES (1, 'evt_lone', 'waiting', 'no_booking', now());
"#;

/// Two snapshots of one second, of which Stripe's API said the last.
fn account_row(second: i64) -> String {
    let snapshot = |payouts: bool| {
        format!(
            r#"{{"type": "express", "charges_enabled": true, "payouts_enabled": {payouts}, "details_submitted": true}}"#
        )
    };
    format!(
        r#"INSERT INTO stripe.account (id, standing, snapshot_event_id, undecided, connected_at, first_event_at)
        VALUES ('acct_host', '{{"created": {second}, "settled": {}, "candidates": {{
            "evt_a": {{"after": {}, "before": null}}, "evt_b": {{"after": {}, "before": null}}}}}}',
            'evt_b', false, to_timestamp({second}), to_timestamp({second}))"#,
        snapshot(true),
        snapshot(true),
        snapshot(false),
    )
}

/// A database of the release before, with rows, upgraded.
async fn upgraded(kept: &Event) -> Lab {
    let test = TestDatabase::empty("upgrade").await.unwrap();
    let client = test.connect().await.unwrap();
    client.batch_execute(BOOKINGS).await.unwrap();
    run(&test, BEFORE).await;
    client.batch_execute(ROWS).await.unwrap();
    let second = kept.created;
    client.batch_execute(&account_row(second)).await.unwrap();
    let body = kept.bytes();
    let pages = archive_page::paginate(&[(kept.id.as_str(), &body)], DateTime::UNIX_EPOCH);
    let page = pages[0].compress().unwrap();
    client
        .execute(
            "INSERT INTO stripe.kept_page (id, event_ids, ends, bytes) VALUES (1, $1, $2, $3)",
            &[&page.event_ids, &page.ends, &page.bytes],
        )
        .await
        .unwrap();
    client
        .execute(
            "INSERT INTO stripe.event (id, type, created, outcome, kept_in) \
             VALUES ($1, 'invoice.paid', now(), 'applied', 1)",
            &[&kept.id],
        )
        .await
        .unwrap();
    let rest = up(test.url()).await.unwrap().len();
    assert_eq!(rest, count() - BEFORE);
    let mut lab = Lab::on(test).await;
    lab.executor.owner_query = Some(OWNER_QUERY.into());
    lab
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_the_release_before_are_carried_over() {
    let kept = paid("evt_kept", "1");
    let lab = upgraded(&kept).await;
    // Events do not wait any more: their invoice does.
    let waiting =
        "SELECT count(*)::text FROM stripe.event WHERE outcome = 'applied' AND reason IS NULL";
    assert_eq!(lab.rows(waiting).await, ["5"]);
    let undecided = "SELECT id FROM stripe.invoice WHERE owner_unknown \
        UNION SELECT id FROM stripe.checkout_session WHERE owner_unknown ORDER BY 1";
    assert_eq!(
        lab.rows(undecided).await,
        ["cs_unknown", "in_forgotten", "in_missing", "in_unknown"]
    );
    for (query, expected) in [
        ("SELECT death_key FROM stripe.dead_letter", "verdict:1"),
        ("SELECT change FROM stripe.account_transition", "authorized"),
        (
            "SELECT outcome FROM stripe.replay_item WHERE decided_at IS NOT NULL",
            "applied",
        ),
    ] {
        assert_eq!(lab.rows(query).await, [expected], "{query}");
    }
    let conn = lab.executor.pool.get().await.unwrap();
    let bodies = archive::bodies(&conn, std::slice::from_ref(&kept.id)).await;
    assert_eq!(bodies.unwrap()[&kept.id], kept.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_goes_on_with_the_rows_of_the_release_before() {
    let kept = paid("evt_kept", "1");
    let lab = upgraded(&kept).await;
    let insert =
        r#"INSERT INTO "Booking" VALUES (7, 'acct_host'), (8, 'acct_other'), (10, 'acct_host')"#;
    lab.client.batch_execute(insert).await.unwrap();
    assert_eq!(lab.project_pending().await, 3);
    let shown = lab.invoices().await;
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(
        shown[0].starts_with("7 in_missing PAID 45 eur"),
        "{shown:?}"
    );
    assert!(
        shown[1].starts_with("10 in_forgotten SENT 9 eur"),
        "{shown:?}"
    );
    // Booking 8 is another account's: its event is dead after all. Booking 9 is not there.
    assert_eq!(lab.ledger("evt_unknown").await.unwrap().0, "dead");
    assert_eq!(lab.project_pending().await, 0);

    // What the API said of the tied snapshots still counts.
    let object = Account {
        id: HOST.into(),
        payouts_enabled: false,
        ..Account::default()
    };
    let older = Event::new("evt_0", "account.updated", object.value())
        .of_account(HOST)
        .at(kept.created - 10);
    lab.take_one(&older).await;
    let status = r#"SELECT "status"::text FROM "HostOnboarding""#;
    assert_eq!(lab.rows(status).await, ["ENABLED"]);
    let tied = "SELECT tied::text FROM stripe.account";
    assert_eq!(lab.rows(tied).await, ["false"]);

    // An event that was applied before the upgrade is a duplicate after it.
    assert_ne!(lab.take_one(&kept).await, STALE);
    assert_eq!(lab.ledger("evt_kept").await.unwrap().2, 1);
    assert!(!row_of(&lab, 1).await);
}

/// Whether the booking has a row.
async fn row_of(lab: &Lab, booking: i32) -> bool {
    let query = r#"SELECT EXISTS (SELECT FROM "Invoice" WHERE "bookingId" = $1)"#;
    let row = lab.client.query_one(query, &[&booking]).await.unwrap();
    row.get(0)
}
