//! Whose a booking is.

use crate::support::{
    APPLIED, Lab,
    claims::{REFUSED, book, claim, with_owners},
    dead_code,
    invoices::{HOST, event, invoice, paid, row, session},
    without,
};
use harness::stripe::Event;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_on_another_accounts_booking_is_dead_and_changes_nothing() {
    let lab = Lab::new().await;
    lab.take_one(&paid("evt_1", "7")).await;
    let before = lab.invoices().await;
    let mut theirs = paid("evt_2", "7").at(paid("", "7").created + 5);
    theirs.account = Some("acct_thief".into());
    theirs.object["id"] = json!("in_9");
    theirs.object["created"] = json!(1_900_000_000);
    let verdict = lab.take_one(&theirs).await;
    assert_eq!(dead_code(&verdict), "booking_claimed_by_other_account");
    assert_eq!(lab.invoices().await, before);

    // Without an account it is the platform's, which is one more account.
    theirs.account = None;
    theirs.id = "evt_3".into();
    assert_eq!(
        dead_code(&lab.take_one(&theirs).await),
        "booking_claimed_by_other_account"
    );
    assert_eq!(lab.invoices().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_claim_that_arrives_later_wins() {
    let lab = Lab::new().await;
    let late = paid("evt_1", "7");
    assert_eq!(lab.take_one(&late).await, APPLIED);
    let mut early = paid("evt_2", "7").at(late.created - 5);
    early.account = Some("acct_first".into());
    early.object["id"] = json!("in_9");
    assert_eq!(lab.take_one(&early).await, APPLIED);
    assert_eq!(row(&lab).await, "7 in_9 PAID");
    let waiting = "SELECT id || ' ' || waiting FROM stripe.invoice WHERE waiting IS NOT NULL";
    assert_eq!(
        lab.rows(waiting).await,
        ["in_1 booking_claimed_by_other_account"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deployments_own_query_decides_whose_a_booking_is() {
    let lab = with_owners().await;
    let mine = paid("evt_1", "7");
    assert_eq!(lab.take_one(&mine).await, APPLIED);
    let waiting = "SELECT waiting FROM stripe.invoice";
    assert_eq!(lab.rows(waiting).await, ["owner_unknown"]);
    lab.client
        .batch_execute(
            r#"INSERT INTO "Booking" VALUES (7, 'acct_host'), (8, 'acct_other'), (9, NULL)"#,
        )
        .await
        .unwrap();
    lab.project_pending().await;
    assert_eq!(row(&lab).await, "7 in_1 PAID");

    let mut theirs = paid("evt_2", "8");
    theirs.object["id"] = json!("in_2");
    assert_eq!(
        dead_code(&lab.take_one(&theirs).await),
        "booking_claimed_by_other_account"
    );
    // It is put right, and judged again.
    lab.client
        .batch_execute(r#"UPDATE "Booking" SET "account" = 'acct_host' WHERE "id" = 8"#)
        .await
        .unwrap();
    assert_eq!(lab.take_one(&theirs).await, APPLIED);
    assert_eq!(lab.invoices().await.len(), 2);
    assert_eq!(
        lab.ledger("evt_2").await.unwrap(),
        ("applied".into(), None, 2)
    );

    let mut platforms = paid("evt_3", "9");
    platforms.object["id"] = json!("in_3");
    platforms.account = None;
    assert_eq!(lab.take_one(&platforms).await, APPLIED);
    assert_eq!(lab.invoices().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_that_a_session_links_waits_for_a_booking_whose_owner_is_unknown() {
    let completed = event(
        "evt_1",
        "checkout.session.completed",
        session(json!("in_1")),
    );
    let unnamed = event("evt_2", "invoice.paid", invoice("paid", None));
    for order in [[&completed, &unnamed], [&unnamed, &completed]] {
        let lab = with_owners().await;
        for event in order {
            lab.take_one(event).await;
        }
        let waiting = "SELECT waiting FROM stripe.invoice";
        assert_eq!(lab.rows(waiting).await, ["owner_unknown"]);
        book(&lab, HOST).await;
        assert_eq!(row(&lab).await, "7 in_1 PAID");
        assert_eq!(lab.ledger("evt_2").await.unwrap().0, "applied");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_does_not_say_when_comes_after_all_that_do() {
    let mut timeless =
        Event::new("evt_1", "invoice.paid", invoice("paid", Some("7"))).of_account("acct_b");
    timeless.object["id"] = json!("in_2");
    let timeless = without(timeless.value(), "created")
        .to_string()
        .into_bytes();
    let timely = paid("evt_2", "7").bytes();
    for order in [[&timeless, &timely], [&timely, &timeless]] {
        let lab = Lab::new().await;
        for body in order {
            lab.take_bytes(std::slice::from_ref(body)).await;
        }
        assert_eq!(row(&lab).await, "7 in_1 PAID");
    }
}

/// More claims come before the one that counts than are read at once, all of objects in hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_sixty_invoices_give_up_is_the_next_accounts() {
    let lab = Lab::new().await;
    let invoice_id = |number: i64| format!("in_{number:02}");
    let named = |number| {
        claim(
            &format!("evt_{number}"),
            "acct_a",
            &invoice_id(number),
            number,
        )
    };
    let named: Vec<Event> = (0..60).map(named).collect();
    lab.take(&named).await;
    let theirs = claim("evt_theirs", "acct_b", "in_b", 100);
    assert_eq!(dead_code(&lab.take_one(&theirs).await), REFUSED);

    let given_up = |number| {
        let id = format!("evt_up_{number}");
        let mut event = claim(&id, "acct_a", &invoice_id(number), 200);
        event.object["metadata"]["dialoomBookingId"] = json!("8");
        event
    };
    let given_up: Vec<Event> = (0..60).map(given_up).collect();
    let decisions = lab.take(&given_up).await;
    assert!(decisions.iter().all(|one| *one == APPLIED), "{decisions:?}");
    let row = r#"SELECT "stripeInvoiceId" FROM "Invoice" WHERE "bookingId" = 7"#;
    assert_eq!(lab.rows(row).await, ["in_b"]);
}
