//! What the ledger and the dead letters say when it turns out late whose a
//! booking is, or what an invoice waits for.

use crate::support::{
    APPLIED, Lab,
    claims::{REFUSED, book, claim, with_owners},
    dead_code,
    invoices::{HOST, event, invoice, row, session},
};
use domain::outcome::Decision;
use harness::stripe::Event;
use serde_json::{Value, json};
use store::{
    Database,
    archive_page::ArchivePolicy,
    dead_letter::{self, NewDeadLetter, Origin, State},
    replay::{self, Kind},
    replay_item,
};

const LETTERS: &str =
    "SELECT concat_ws(' ', id, reason, state, attempts) FROM stripe.dead_letter ORDER BY id";
const LEDGER: &str = "SELECT concat_ws(' ', id, outcome, reason) FROM stripe.event ORDER BY id";

/// A dead letter as the recorder writes that of an event.
async fn record(lab: &Lab, event: &Event, reason: &str, origin: Origin) {
    let database = Database::parse(lab.database.url()).unwrap();
    let mut connection = database.connect().await.unwrap();
    let letter = NewDeadLetter {
        id: event.id.clone(),
        event_id: Some(event.id.clone()),
        envelope: None,
        routing_key: event.kind.clone(),
        body: event.bytes(),
        properties: json!({}),
        reason: reason.into(),
        detail: "As it was.".into(),
        origin,
        death_key: "first".into(),
        died_at: chrono::DateTime::from_timestamp(harness::stripe::now() - 60, 0).unwrap(),
    };
    let written = store::write(&mut connection, async |tx| {
        dead_letter::insert_many(tx, &[letter]).await
    });
    written.await.unwrap();
}

/// What was applied by then becomes a dead letter, as if it had come in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_overtaken_leaves_a_dead_letter_with_its_bytes() {
    let lab = Lab::new().await;
    let (late, early) = (
        claim("evt_late", "acct_b", "in_b", 10),
        claim("evt_early", "acct_a", "in_a", 0),
    );
    assert_eq!(lab.take_one(&late).await, APPLIED);
    assert_eq!(lab.executor.refused_late.get(), 0);
    assert_eq!(lab.take_one(&early).await, APPLIED);
    assert_eq!(lab.executor.refused_late.get(), 1);
    assert_eq!(
        lab.rows(LEDGER).await,
        ["evt_early applied", &format!("evt_late dead {REFUSED}")]
    );
    assert_eq!(
        lab.rows(LETTERS).await,
        [format!("evt_late {REFUSED} dead 1")]
    );
    let kept = lab
        .client
        .query_one(
            "SELECT body, routing_key, detail, properties->'message_id' IS NOT NULL FROM stripe.dead_letter",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(kept.get::<_, Vec<u8>>(0), late.bytes());
    assert_eq!(kept.get::<_, String>(1), "invoice.paid");
    assert_eq!(
        kept.get::<_, String>(2),
        "Booking 7 belongs to the account acct_a, which named it first in in_a."
    );
    assert!(kept.get::<_, bool>(3));
    // A later event changes nothing; the same one is the same dead letter once more.
    let more = claim("evt_more", "acct_a", "in_a", 20);
    lab.take_one(&more).await;
    assert_eq!(
        lab.rows(LETTERS).await,
        [format!("evt_late {REFUSED} dead 1")]
    );
    assert_eq!(dead_code(&lab.take_one(&late).await), REFUSED);
    assert_eq!(
        lab.rows(LETTERS).await,
        [format!("evt_late {REFUSED} dead 2")]
    );
    assert_eq!(row(&lab).await, "7 in_a PAID");
}

/// The booking changes hands twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_whose_claim_wins_after_all_is_resolved() {
    let lab = Lab::new().await;
    let winner = claim("evt_1", "acct_a", "in_a", 10);
    let refused = claim("evt_2", "acct_b", "in_b", 20);
    let first = claim("evt_3", "acct_b", "in_b", 0);
    assert_eq!(lab.take_one(&winner).await, APPLIED);
    assert_eq!(dead_code(&lab.take_one(&refused).await), REFUSED);
    assert_eq!(lab.rows(LETTERS).await, [format!("evt_2 {REFUSED} dead 1")]);

    assert_eq!(lab.take_one(&first).await, APPLIED);
    assert_eq!(
        lab.rows(LEDGER).await,
        [
            &format!("evt_1 dead {REFUSED}"),
            "evt_2 applied",
            "evt_3 applied"
        ]
    );
    assert_eq!(
        lab.rows(LETTERS).await,
        [
            format!("evt_1 {REFUSED} dead 1"),
            format!("evt_2 {REFUSED} resolved 1")
        ]
    );
    assert_eq!(row(&lab).await, "7 in_b PAID");

    // And back: the bytes that were recorded first are still there.
    let before = claim("evt_4", "acct_a", "in_a", -10);
    assert_eq!(lab.take_one(&before).await, APPLIED);
    assert_eq!(
        lab.rows(LETTERS).await,
        [
            format!("evt_1 {REFUSED} resolved 1"),
            format!("evt_2 {REFUSED} dead 2"),
            format!("evt_3 {REFUSED} dead 1")
        ]
    );
    assert_eq!(row(&lab).await, "7 in_a PAID");
}

/// The claim wins before the refused event comes again, and loses later: its bytes are
/// archived although its dead letter has them as well.
#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_a_refused_event_are_archived() {
    let lab = Lab::new().await;
    lab.take_one(&claim("evt_1", "acct_a", "in_a", 10)).await;
    let refused = claim("evt_2", "acct_b", "in_b", 20);
    assert_eq!(dead_code(&lab.take_one(&refused).await), REFUSED);
    lab.take_one(&claim("evt_3", "acct_b", "in_b", 0)).await;
    assert_eq!(lab.take_one(&refused).await, Decision::Duplicate);
    assert_eq!(lab.ledger("evt_2").await.unwrap().0, "applied");
    lab.take_one(&claim("evt_4", "acct_a", "in_a", -10)).await;
    let body = "SELECT body FROM stripe.dead_letter WHERE id = 'evt_2' AND state = 'dead'";
    let row = lab.client.query_one(body, &[]).await.unwrap();
    assert_eq!(row.get::<_, Vec<u8>>(0), refused.bytes());
    let kept = "SELECT unnest(event_ids) FROM stripe.event_archive ORDER BY 1";
    assert_eq!(lab.rows(kept).await, ["evt_1", "evt_2", "evt_3", "evt_4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_waits_for_its_owner_is_decided_when_the_booking_comes() {
    let paid = claim("evt_1", HOST, "in_1", 0);
    let opened = event("evt_2", "checkout.session.completed", session(Value::Null));
    for (owner, ledger, letters) in [
        (HOST, ["evt_1 applied", "evt_2 applied"], 0),
        (
            "acct_other",
            [
                "evt_1 dead booking_claimed_by_other_account",
                "evt_2 dead booking_claimed_by_other_account",
            ],
            2,
        ),
    ] {
        let lab = with_owners().await;
        assert_eq!(lab.take_one(&paid).await, APPLIED);
        // Without an invoice of its own the session waits alone.
        assert_eq!(lab.take_one(&opened).await, APPLIED);
        assert_eq!(lab.waiting().await, ["in_1 owner_unknown"]);
        let undecided = "SELECT id FROM stripe.checkout_session WHERE owner_unknown";
        assert_eq!(lab.rows(undecided).await.len(), 1);
        assert_eq!(lab.project_pending().await, 0, "its owner is not known");
        book(&lab, owner).await;
        assert_eq!(lab.rows(LEDGER).await, ledger);
        assert_eq!(lab.rows(LETTERS).await.len(), letters);
        assert_eq!(lab.invoices().await.len(), 1 - letters / 2);
        // It is decided, and not rechecked.
        assert_eq!(lab.rows(undecided).await.len(), 0);
        assert_eq!(lab.project_pending().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_says_what_it_waits_for_now() {
    let lab = Lab::with_bookings(&[]).await;
    let unnamed = event("evt_1", "invoice.paid", invoice("paid", None));
    assert_eq!(lab.take_one(&unnamed).await, APPLIED);
    assert_eq!(lab.waiting().await, ["in_1 no_booking"]);
    lab.take_one(&event(
        "evt_2",
        "checkout.session.completed",
        session(json!("in_1")),
    ))
    .await;
    assert_eq!(lab.waiting().await, ["in_1 booking_missing"]);
    lab.book(7).await;
    lab.project_pending().await;
    assert_eq!(lab.waiting().await.len(), 0);
    assert_eq!(lab.rows(LEDGER).await, ["evt_1 applied", "evt_2 applied"]);
}

/// Without its bytes there is nothing to send again; the ledger still says it.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_bytes_are_not_kept_is_dead_in_the_ledger_alone() {
    let mut lab = Lab::new().await;
    lab.executor.archive = ArchivePolicy::Never;
    lab.take_one(&claim("evt_1", "acct_b", "in_b", 10)).await;
    lab.take_one(&claim("evt_2", "acct_a", "in_a", 0)).await;
    assert_eq!(
        lab.rows(LEDGER).await,
        [&format!("evt_1 dead {REFUSED}"), "evt_2 applied"]
    );
    assert_eq!(lab.rows(LETTERS).await.len(), 0);
}

/// The query's answer was wrong, and is put right; the next event of the booking
/// brings the rest along.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_was_wrong_is_made_good_with_the_next_event() {
    let lab = with_owners().await;
    book(&lab, "acct_wrong").await;
    assert_eq!(
        dead_code(&lab.take_one(&claim("evt_1", HOST, "in_1", 0)).await),
        REFUSED
    );
    let mend = r#"UPDATE "Booking" SET "account" = 'acct_host'"#;
    lab.client.batch_execute(mend).await.unwrap();
    lab.take_one(&claim("evt_2", HOST, "in_1", -5)).await;
    assert_eq!(row(&lab).await, "7 in_1 PAID");
    assert_eq!(lab.rows(LEDGER).await[0], "evt_1 applied");
}

/// What is shown of an object and what the ledger says of its events change
/// together, or not yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_changes_its_answer_leaves_no_dead_event_that_is_shown() {
    let lab = with_owners().await;
    book(&lab, "acct_a").await;
    lab.take_one(&claim("evt_1", "acct_a", "in_1", 0)).await;
    lab.take_one(&claim("evt_2", "acct_a", "in_2", 1)).await;
    let change = r#"UPDATE "Booking" SET "account" = 'acct_b'"#;
    lab.client.batch_execute(change).await.unwrap();
    lab.take_one(&claim("evt_3", "acct_b", "in_3", 2)).await;
    assert_eq!(row(&lab).await, "7 in_3 PAID");
    let disagree = "SELECT e.id FROM stripe.event e JOIN stripe.invoice i ON i.id = e.object_id \
        WHERE (e.outcome = 'dead') <> (i.waiting IS NOT NULL) ORDER BY 1";
    assert_eq!(lab.rows(disagree).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_is_dead_once_more_says_why() {
    let lab = Lab::new().await;
    let late = claim("evt_1", "acct_b", "in_b", 10);
    record(&lab, &late, "maxlen", Origin::Broker).await;
    // Applied since, and then refused.
    assert_eq!(lab.take_one(&late).await, APPLIED);
    lab.take_one(&claim("evt_2", "acct_a", "in_a", 0)).await;
    assert_eq!(
        lab.rows(
            "SELECT concat_ws(' ', reason, origin, state, attempts, detail) FROM stripe.dead_letter"
        )
        .await,
        [format!(
            "{REFUSED} worker dead 2 Booking 7 belongs to the account acct_a, which named it first in in_a."
        )]
    );
}

/// Its claim wins while an operator's replay has it in hand, and the replay is
/// killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_killed_leaves_events_alone_that_were_accepted_meanwhile() {
    let lab = Lab::new().await;
    lab.take_one(&claim("evt_1", "acct_a", "in_a", 10)).await;
    lab.take_one(&claim("evt_2", "acct_a", "in_a", 5)).await;
    // Refused after all, with a letter out of the kept bytes.
    lab.take_one(&claim("evt_3", "acct_b", "in_b", 0)).await;
    let connection = Database::parse(lab.database.url()).unwrap().connect().await;
    let mut connection = connection.unwrap();
    let run = replay::start(&connection, Kind::DeadLetters, "ada", "all");
    let run = run.await.unwrap();
    let ids = ["evt_1".to_owned(), "evt_2".to_owned()];
    let taken = store::write(&mut connection, async |tx| {
        let taken = dead_letter::claim_for_replay(tx, run, "ada", &ids, State::Dead).await?;
        replay_item::add(tx, run, &taken).await?;
        store::Result::Ok(taken)
    });
    assert_eq!(taken.await.unwrap().len(), 2);
    lab.take_one(&claim("evt_4", "acct_a", "in_a", -5)).await;
    let abandoned = store::write(&mut connection, async |tx| replay::abandon(tx, run).await);
    abandoned.await.unwrap();
    assert_eq!(
        lab.rows(LEDGER).await,
        [
            "evt_1 applied",
            "evt_2 applied",
            &format!("evt_3 dead {REFUSED}"),
            "evt_4 applied"
        ]
    );
    assert_eq!(
        lab.rows(LETTERS).await,
        [
            format!("evt_1 {REFUSED} resolved 1"),
            format!("evt_2 {REFUSED} resolved 1"),
            format!("evt_3 {REFUSED} dead 1")
        ]
    );
}

/// Nothing says that ids of two kinds differ: what one waits for is not said of
/// the events of the other.
#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_and_a_session_of_one_id_are_two_objects() {
    let in_order = [0, 1];
    let reversed = [1, 0];
    for order in [in_order, reversed] {
        let lab = Lab::new().await;
        let mut of_session = session(Value::Null);
        of_session["id"] = json!("both");
        let mut of_invoice = invoice("open", Some("7"));
        of_invoice["id"] = json!("both");
        of_invoice["total"] = Value::Null;
        let events = [
            event("evt_1", "checkout.session.completed", of_session),
            event("evt_2", "invoice.finalized", of_invoice.clone()),
        ];
        for number in order {
            lab.take_one(&events[number]).await;
        }
        assert_eq!(lab.waiting().await, ["both amount_unknown"], "{order:?}");

        of_invoice["total"] = json!(500);
        let whole = event("evt_3", "invoice.paid", of_invoice);
        assert_eq!(lab.take_one(&whole).await, APPLIED);
        assert_eq!(lab.waiting().await.len(), 0, "{order:?}");
        let joined = ["evt_1 applied", "evt_2 applied", "evt_3 applied"];
        assert_eq!(lab.rows(LEDGER).await, joined, "{order:?}");
    }
}
