//! Rows that are computed anew from archived events end as those of a fresh database that took
//! the same events; where events may be missing, what is known is kept.

use std::slice;

use chrono::{DateTime, Utc};
use domain::ids::{BookingId, ObjectId};
use harness::{
    private::PrivateFolder,
    services::{Service, ServiceOptions},
    stripe::{Event, Invoice},
    stripe_api::Payment,
    test_servers::TestBroker,
};
use proptest::prelude::*;
use store::rebuild::{self, Subject};
use worker::pipeline::rebuild::{Rebuild, Rebuilt};

use crate::support::{
    Lab, decoder,
    histories::{sayings, signs, try_all},
    news,
    operator::Operator,
    payments::{nth_paid, paid},
    shop::{self, Shop},
};

/// Says how many histories each property tries; a few where it is not set.
const HISTORIES: &str = "MODEL_DATABASE_HISTORIES";
const USUAL: u32 = 60;

/// Sample objects are from 2025: their events count as all there are.
const ALWAYS: DateTime<Utc> = DateTime::UNIX_EPOCH;

async fn rebuild_at(lab: &Lab, subjects: &[Subject], complete_since: DateTime<Utc>) -> Rebuilt {
    let decoder = decoder();
    let rebuild = Rebuild {
        executor: &lab.executor,
        decoder: &decoder,
        complete_since,
    };
    rebuild.run(subjects, &[]).await.unwrap()
}

/// Computes everything anew, two objects at a time. Gives back how many kept what is known.
async fn rebuild_all(lab: &Lab) -> usize {
    let (mut after, mut kept) = (None, 0);
    loop {
        let page = {
            let conn = lab.executor.pool.get().await.unwrap();
            rebuild::page(&conn, None, after.as_ref(), 2).await.unwrap()
        };
        let Some(last) = page.last() else {
            return kept;
        };
        after = Some(last.clone());
        kept += rebuild_at(lab, &page, ALWAYS).await.kept.len();
    }
}

/// What a mistake could have left: wrong values, ranks that are too high, claims that nobody
/// made and claims that are missing.
const MISTAKES: &[&str] = &[
    r"UPDATE stripe.invoice SET status = 'paid', total = 1, by_claim = NULL, number = 'wrong'",
    r"UPDATE stripe.checkout_session SET status = 'expired', payment_status = 'paid', by_claim = NULL",
    r"UPDATE stripe.account SET latest_snapshots = NULL, deauthorized_at = now(), tied = true",
    r"INSERT INTO stripe.booking_claim (booking_id, account, object_kind, object_id, event_created, event_id)
        SELECT 1, 'acct_wrong', 'invoice', id, to_timestamp(1), 'evt_wrong' FROM stripe.invoice LIMIT 1",
    r"DELETE FROM stripe.booking_claim",
    r#"UPDATE "Invoice" SET "amount" = 1, "status" = 'DRAFT'"#,
    r#"UPDATE "HostOnboarding" SET "status" = 'PAUSED', "canSell" = true"#,
];

#[test]
fn invoices_and_sessions_end_as_in_a_fresh_database_whatever_was_wrong() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lab = runtime.block_on(Lab::new());
    try_all(HISTORIES, USUAL, sayings(), |said, _| {
        let events: Vec<Event> = said.iter().map(|said| said.event()).collect();
        for mistake in MISTAKES {
            let (fresh, rebuilt) = runtime.block_on(async {
                lab.wipe().await;
                lab.take(&events).await;
                let fresh = lab.state().await;
                lab.client.batch_execute(mistake).await.unwrap();
                assert_eq!(rebuild_all(&lab).await, 0);
                (fresh, lab.state().await)
            });
            prop_assert_eq!(rebuilt, fresh, "{}", mistake);
        }
        Ok(())
    });
}

#[test]
fn hosts_end_as_in_a_fresh_database_whatever_was_wrong() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lab = runtime.block_on(Lab::new());
    try_all(HISTORIES, USUAL, signs(), |signs, _| {
        let events: Vec<Event> = signs.iter().map(|sign| sign.event("acct_a")).collect();
        for mistake in MISTAKES {
            let (fresh, rebuilt, kept) = runtime.block_on(async {
                lab.wipe().await;
                lab.take(&events).await;
                let fresh = lab.state().await;
                lab.client.batch_execute(mistake).await.unwrap();
                let kept = rebuild_all(&lab).await;
                if kept > 0 {
                    // Nothing says when Stripe made the account: it is left alone.
                    return (Vec::new(), Vec::new(), kept);
                }
                (fresh, lab.state().await, kept)
            });
            let has_snapshot = events.iter().any(|event| event.kind == "account.updated");
            prop_assert_eq!(kept == 0, has_snapshot, "{}", mistake);
            prop_assert_eq!(rebuilt, fresh, "{}", mistake);
        }
        Ok(())
    });
}

fn open(index: usize) -> Event {
    let mut event = nth_paid(index);
    event.kind = "invoice.finalized".into();
    event.object["status"] = "open".into();
    event
}

const SHOWN: &str = r#"SELECT concat_ws(' ', "bookingId", "stripeInvoiceId", "status", "amount"::float8)
    FROM "Invoice" ORDER BY "bookingId""#;

/// A rank that is too high, which no replay takes back.
const TOO_HIGH: &str = r#"UPDATE stripe.invoice SET status = 'paid' WHERE id = 'in_0';
    UPDATE "Invoice" SET "status" = 'PAID', "amount" = 1 WHERE "stripeInvoiceId" = 'in_0'"#;

fn invoice(id: &str) -> Subject {
    Subject::Object(ObjectId::Invoice(id.into()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_whose_events_may_be_missing_keeps_what_is_known_and_its_row_follows() {
    let lab = Lab::new().await;
    lab.take(&[open(0), open(1)]).await;
    let right = lab.rows(SHOWN).await;
    let state = lab.state().await;
    // What Stripe said is right, and the app's row alone is wrong.
    let wrong = r#"UPDATE "Invoice" SET "amount" = 1"#;
    let both = [invoice("in_0"), invoice("in_1")];

    // They may be older than the ledger.
    lab.client.batch_execute(wrong).await.unwrap();
    let done = rebuild_at(&lab, &both, Utc::now()).await;
    assert_eq!(
        (done.kept.len(), done.rebuilt.len(), done.events),
        (2, 0, 0)
    );
    assert_eq!(lab.rows(SHOWN).await, right);
    assert_eq!(lab.state().await, state);

    // The bytes of one event of many are gone.
    lab.take_one(&Event {
        id: "evt_late".into(),
        ..nth_paid(0)
    })
    .await;
    let (right, state) = (lab.rows(SHOWN).await, lab.state().await);
    let prune = "DELETE FROM stripe.event_archive WHERE 'evt_late' = ANY(event_ids)";
    lab.client.batch_execute(prune).await.unwrap();
    lab.client.batch_execute(wrong).await.unwrap();
    let done = rebuild_at(&lab, &both, ALWAYS).await;
    assert_eq!(done.kept, [invoice("in_0")]);
    assert_eq!(done.rebuilt, [invoice("in_1")]);
    assert_eq!(lab.rows(SHOWN).await, right);
    assert_eq!(lab.state().await, state);
}

/// A claim that a mistake made, earlier than the owner's: the owner's events were refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_claim_gives_the_booking_back_to_its_owner() {
    let lab = Lab::new().await;
    let mut stranger = paid("b", "2");
    stranger.account = Some("acct_b".into());
    stranger.created -= 100;
    let owners = paid("a", "1");
    lab.take(&[stranger.clone(), owners.clone()]).await;
    let fresh = lab.state().await;
    // An earlier release read the stranger's event as one that names booking 1.
    lab.wipe().await;
    let mut misread = stranger.clone();
    misread.object["metadata"]["dialoomBookingId"] = "1".into();
    lab.take(&[misread, owners.clone()]).await;
    assert_eq!(lab.ledger("evt_a").await.unwrap().0, "dead");
    // The bytes in the archive are what they are.
    let conn = lab.executor.pool.get().await.unwrap();
    let bodies = [
        (stranger.id.as_str(), stranger.bytes()),
        ("evt_a", owners.bytes()),
    ];
    let events: Vec<(&str, &[u8])> = bodies
        .iter()
        .map(|(id, body)| (*id, body.as_slice()))
        .collect();
    let page = store::archive_page::paginate(&events, Utc::now())[0]
        .compress()
        .unwrap();
    let update = "UPDATE stripe.event_archive SET event_ids = $1, ends = $2, bytes = $3";
    lab.client
        .execute(update, &[&page.event_ids, &page.ends, &page.bytes])
        .await
        .unwrap();
    let claimed = "UPDATE stripe.event SET claimed_booking_id = 2 WHERE id = 'evt_b'";
    lab.client.batch_execute(claimed).await.unwrap();
    let bookings = rebuild::bookings_of(&conn, &[ObjectId::Invoice("in_b".into())]).await;
    assert_eq!(bookings.unwrap(), [BookingId(1)]);
    drop(conn);

    let done = rebuild_at(&lab, &[invoice("in_b")], ALWAYS).await;
    assert_eq!((done.rebuilt.len(), done.events), (1, 1));
    assert_eq!(lab.state().await, fresh);
    let letters = "SELECT id || ' ' || state FROM stripe.dead_letter";
    assert_eq!(lab.rows(letters).await, ["evt_a resolved"]);
}

/// What a command told of a session that it made is an event of it like Stripe's own: the claim
/// on the booking is by that, and earlier than any that somebody else may make.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_told_of_its_session_is_taken_in_again() {
    let shop = Shop::new().await;
    let lab = &shop.desk.lab;
    let session = shop::session(&shop.checkout(7).await.unwrap());
    let subject = Subject::Object(ObjectId::CheckoutSession(session.as_str().into()));
    let told = lab.state().await;

    // Only that: nothing says when Stripe made the session, and what is known is kept.
    let done = rebuild_at(lab, slice::from_ref(&subject), ALWAYS).await;
    assert_eq!((done.kept.len(), done.events), (1, 0));
    assert_eq!(lab.state().await, told);

    shop.desk.api.pay(&session, Payment::Card).unwrap();
    shop.desk.take_events().await;
    let paid = lab.state().await;
    let done = rebuild_at(lab, slice::from_ref(&subject), ALWAYS).await;
    assert_eq!(lab.state().await, paid);
    assert_eq!((done.kept.len(), done.events), (0, 2));

    // Its bytes are not archived any more: the claim cannot be had from Stripe's event.
    let prune = "DELETE FROM stripe.event_archive WHERE event_ids::text LIKE '%told_cs%'";
    lab.client.batch_execute(prune).await.unwrap();
    let done = rebuild_at(lab, &[subject], ALWAYS).await;
    assert_eq!((done.kept.len(), done.events), (1, 0));
    assert_eq!(lab.state().await, paid);
}

fn recent(index: usize, now: i64) -> Event {
    let object = Invoice {
        id: format!("in_{index}"),
        booking: Some((index + 1).to_string()),
        ..Invoice::default()
    };
    let mut object = object.value();
    object["created"] = (now - 60).into();
    object["status"] = "open".into();
    let id = format!("evt_{index}");
    Event::new(&id, "invoice.finalized", object).of_account("acct_a")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_computes_rows_anew_by_object_account_booking_or_all() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("rebuild"));
    let operator = Operator::new(lab.worker_url(), &broker)
        .with("STRIPE_MODE", "test")
        .with("BOOKING_METADATA_KEY", "dialoomBookingId");
    let now = Utc::now().timestamp();
    lab.take(&[recent(0, now), recent(1, now), nth_paid(2)])
        .await;
    let right = lab.rows(SHOWN).await;

    for (line, code, word) in [
        ("rebuild", 2, "--object"),
        ("rebuild --all --booking 7 --yes", 2, "cannot be used with"),
        ("rebuild --object in_0", 2, "--yes"),
        (
            "rebuild --object in_nobody --yes",
            1,
            "no event of in_nobody is known",
        ),
        (
            "rebuild --object evt_0 --yes",
            1,
            "no event of evt_0 is known",
        ),
    ] {
        let done = operator.run(line).await;
        assert_eq!(done.code, code, "{line}: {}{}", done.out, done.err);
        assert!(done.err.contains(word), "{line}: {}", done.err);
    }
    lab.client.batch_execute(TOO_HIGH).await.unwrap();
    let wrong = lab.rows(SHOWN).await;
    assert_ne!(wrong, right);
    let dry = operator.run("rebuild --object in_0 --dry-run").await.well();
    assert!(
        dry.out
            .contains("1 objects would be computed anew from 1 events"),
        "{}",
        dry.out
    );
    assert_eq!(lab.rows(SHOWN).await, wrong, "nothing was changed");

    for line in [
        "rebuild --object in_0 --yes",
        "rebuild --account acct_a --yes --json",
        "rebuild --booking 1 --yes",
        "rebuild --all --yes",
    ] {
        lab.client.batch_execute(TOO_HIGH).await.unwrap();
        let done = operator.run(line).await;
        // The third invoice is from 2025, and of the account.
        let expected = i32::from(line.contains("account"));
        assert_eq!(done.code, expected, "{line}: {}{}", done.out, done.err);
        assert_eq!(lab.rows(SHOWN).await, right, "{line}");
    }
    let all = operator.run("rebuild --all --yes").await.well();
    assert!(
        all.out.contains("1 keep what is known of them"),
        "{}",
        all.out
    );
    assert!(all.out.contains("in_2"), "{}", all.out);

    // Another deployment's rules would read the events otherwise.
    let remember = "INSERT INTO stripe.deployment (mode, app_schema, amqp_prefix) \
        VALUES ('live', 'public', '')";
    lab.client.batch_execute(remember).await.unwrap();
    let other = operator.run("rebuild --all --yes").await;
    assert_eq!(other.code, 64, "{}", other.err);
}

/// The shell of a rebuild need not say whether the main app is told: the database does.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_tells_news_where_the_worker_does_whatever_its_shell_says() {
    let broker = TestBroker::new("rebuildnews");
    for (worker, shell, told) in [
        (Some("yes"), None, vec!["booking.invoice.paid 1 1"]),
        (Some("yes"), Some("no"), vec!["booking.invoice.paid 1 1"]),
        (Some("no"), Some("yes"), vec![]),
        // Before a worker of this release has started.
        (None, Some("yes"), vec!["booking.invoice.paid 1 1"]),
        (None, None, vec![]),
    ] {
        let lab = Lab::new().await;
        if let Some(changes) = worker {
            // The last start counts.
            for changes in [if changes == "yes" { "no" } else { "yes" }, changes] {
                start(&lab, &broker, changes).await;
            }
        }
        // The main app's row is lost, as by a restore of its tables alone.
        lab.take_one(&nth_paid(0)).await;
        let lose = r#"DELETE FROM "Invoice""#;
        lab.client.batch_execute(lose).await.unwrap();
        let mut operator = Operator::new(lab.worker_url(), &broker).with("STRIPE_MODE", "test");
        if let Some(changes) = shell {
            operator = operator.with("CHANGES", changes);
        }
        // Its sample objects are old: what is known is kept, and the row is written anew.
        let done = operator.run("rebuild --booking 1 --yes").await;
        assert_eq!(done.code, 1, "{}", done.err);
        assert_eq!(lab.invoices().await.len(), 1);
        assert_eq!(news::told(&lab).await, told, "{worker:?} {shell:?}");
    }
}

/// A worker starts with this `CHANGES` and stops.
async fn start(lab: &Lab, broker: &TestBroker, changes: &str) {
    let folder = PrivateFolder::make("changes").unwrap();
    let options = ServiceOptions::worker(folder.path())
        .unwrap()
        .env("AMQP_URL", broker.url())
        .env("AMQP_PREFIX", broker.prefix())
        .env("DATABASE_URL", lab.database.url())
        .env("STRIPE_MODE", "test")
        .env("CHANGES", changes);
    let mut worker = Service::start(options).await.unwrap();
    worker.terminate().await.unwrap();
}
