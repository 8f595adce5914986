//! The rules of invoices and sessions, one by one.

use crate::support::{
    APPLIED, Lab,
    invoices::{event, invoice, paid, row, session},
    without,
};
use domain::outcome::Decision;
use harness::stripe::{ApiVersion, CheckoutSession, Invoice};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn each_status_of_stripe_is_one_of_the_main_apps() {
    let lab = Lab::new().await;
    for (status, kind, shown) in [
        (json!("draft"), "invoice.created", Some("DRAFT")),
        (Value::Null, "invoice.created", Some("DRAFT")),
        (json!("open"), "invoice.finalized", Some("SENT")),
        (json!("open"), "invoice.payment_failed", Some("SENT")),
        (
            json!("uncollectible"),
            "invoice.marked_uncollectible",
            Some("SENT"),
        ),
        (json!("paid"), "invoice.payment_succeeded", Some("PAID")),
        (json!("void"), "invoice.voided", None),
        (json!("draft"), "invoice.deleted", None),
    ] {
        lab.wipe().await;
        let mut object = invoice("draft", Some("7"));
        object["status"] = status.clone();
        assert_eq!(lab.take_one(&event("evt_1", kind, object)).await, APPLIED);
        let rows = lab.invoices().await;
        match shown {
            Some(shown) => assert_eq!(row(&lab).await, format!("7 in_1 {shown}"), "{kind}"),
            None => assert!(rows.is_empty(), "{kind}: {rows:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_are_in_major_units_by_stripes_own_exponents() {
    let lab = Lab::new().await;
    for (currency, total, amount) in [
        ("eur", 4500, "45"),
        ("eur", 4599, "45.99"),
        ("jpy", 4500, "4500"),
        ("kwd", 4501, "4.501"),
        ("isk", 4500, "45"),
        ("ugx", 4500, "45"),
        ("usd", 0, "0"),
    ] {
        lab.wipe().await;
        let mut object = invoice("paid", Some("7"));
        object["currency"] = json!(currency);
        object["total"] = json!(total);
        lab.take_one(&event("evt_1", "invoice.paid", object)).await;
        let row = lab.invoices().await.remove(0);
        let fields: Vec<&str> = row.split(' ').collect();
        assert_eq!((fields[3], fields[4]), (amount, currency), "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_api_version_is_read() {
    let lab = Lab::new().await;
    for version in ApiVersion::ALL {
        lab.wipe().await;
        let object = Invoice {
            id: "in_1".into(),
            booking: None,
            version,
            ..Invoice::default()
        };
        let mut paid = event("evt_1", "invoice.paid", object.value());
        paid.version = version;
        let completed = CheckoutSession {
            invoice: Some("in_1".into()),
            booking: Some("7".into()),
            version,
            ..CheckoutSession::default()
        };
        let mut completed = event("evt_2", "checkout.session.completed", completed.value());
        completed.version = version;
        assert_eq!(lab.take_one(&paid).await, APPLIED, "{version:?}");
        assert_eq!(lab.waiting().await, ["in_1 no_booking"]);
        assert_eq!(lab.take_one(&completed).await, APPLIED, "{version:?}");
        assert_eq!(row(&lab).await, "7 in_1 PAID", "{version:?}");
        assert_eq!(lab.ledger("evt_1").await.unwrap().0, "applied");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sparse_event_needs_no_more_than_the_ids() {
    let lab = Lab::new().await;
    let body = json!({
        "id": "evt_1", "object": "event", "type": "invoice.paid",
        "data": { "object": { "id": "in_1" } },
    });
    let verdicts = lab.take_bytes(&[body.to_string().into_bytes()]).await;
    assert_eq!(verdicts, [APPLIED]);
    assert_eq!(lab.waiting().await, ["in_1 no_booking"]);
    let full = event("evt_2", "invoice.paid", invoice("paid", Some("7")));
    let mut nearly = full.clone();
    for field in [
        "number",
        "invoice_pdf",
        "hosted_invoice_url",
        "created",
        "lines",
    ] {
        nearly.object = without(nearly.object, field);
    }
    assert_eq!(lab.take_one(&nearly).await, APPLIED);
    assert_eq!(row(&lab).await, "7 in_1 PAID");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_links_its_invoice_as_text_object_or_not_yet() {
    for link in [json!("in_1"), json!({ "id": "in_1", "object": "invoice" })] {
        for session_first in [true, false] {
            let lab = Lab::new().await;
            let linked = event("evt_s", "checkout.session.completed", session(link.clone()));
            let paid = event("evt_i", "invoice.paid", invoice("paid", None));
            let order = if session_first {
                [&linked, &paid]
            } else {
                [&paid, &linked]
            };
            for event in order {
                lab.take_one(event).await;
            }
            assert_eq!(row(&lab).await, "7 in_1 PAID");
        }
    }
    let lab = Lab::new().await;
    let unlinked = event("evt_1", "checkout.session.completed", session(Value::Null));
    assert_eq!(lab.take_one(&unlinked).await, APPLIED);
    let paid = event("evt_2", "invoice.paid", invoice("paid", None));
    assert_eq!(lab.take_one(&paid).await, APPLIED);
    assert_eq!(lab.waiting().await, ["in_1 no_booking"]);
    let linked = event(
        "evt_3",
        "checkout.session.async_payment_succeeded",
        session(json!("in_1")),
    );
    assert_eq!(lab.take_one(&linked).await, APPLIED);
    assert_eq!(row(&lab).await, "7 in_1 PAID");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_rank_is_never_taken_back_and_known_texts_stay() {
    let lab = Lab::new().await;
    let paid = paid("evt_1", "7");
    lab.take_one(&paid).await;
    let before = lab.invoices().await;
    let mut draft = invoice("draft", Some("7"));
    draft["invoice_pdf"] = Value::Null;
    let late = event("evt_2", "invoice.created", draft).at(paid.created + 100);
    assert_eq!(lab.take_one(&late).await, APPLIED);
    assert_eq!(lab.invoices().await, before);

    let mut without_pdf = invoice("paid", Some("7"));
    without_pdf["invoice_pdf"] = Value::Null;
    without_pdf["number"] = Value::Null;
    let later = event("evt_3", "invoice.updated", without_pdf).at(paid.created + 200);
    assert_eq!(lab.take_one(&later).await, APPLIED);
    assert_eq!(lab.invoices().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_has_an_empty_pdf_until_it_is_finalised() {
    let lab = Lab::new().await;
    let created = event("evt_1", "invoice.created", invoice("draft", Some("7")));
    lab.take_one(&created).await;
    assert_eq!(lab.rows(r#"SELECT "pdfUrl" FROM "Invoice""#).await, [""]);
    let finalized = event("evt_2", "invoice.finalized", invoice("open", Some("7")));
    lab.take_one(&finalized).await;
    assert!(lab.rows(r#"SELECT "pdfUrl" FROM "Invoice""#).await[0].ends_with("/pdf"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voided_invoice_leaves_its_booking_to_the_next_best() {
    let lab = Lab::new().await;
    let mut other = invoice("open", Some("7"));
    other["id"] = json!("in_0");
    lab.take_one(&event("evt_1", "invoice.finalized", other))
        .await;
    lab.take_one(&event(
        "evt_2",
        "invoice.finalized",
        invoice("open", Some("7")),
    ))
    .await;
    assert_eq!(row(&lab).await, "7 in_1 SENT");
    lab.take_one(&event(
        "evt_3",
        "invoice.voided",
        invoice("void", Some("7")),
    ))
    .await;
    assert_eq!(row(&lab).await, "7 in_0 SENT");
    assert_eq!(
        lab.rows("SELECT status FROM stripe.invoice WHERE id = 'in_1'")
            .await,
        ["void"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_delivery_has_one_effect_however_often_it_comes() {
    let lab = Lab::new().await;
    let once = paid("evt_1", "7");
    let mut again = once.clone();
    again.pending_webhooks = 0;
    let verdicts = lab.take(&[once.clone(), again.clone()]).await;
    assert_eq!(verdicts, [APPLIED, Decision::Duplicate]);
    let state = lab.state().await;
    assert_eq!(lab.take_one(&again).await, Decision::Duplicate);
    assert_eq!(lab.state().await, state);
    assert_eq!(
        lab.ledger("evt_1").await.unwrap(),
        ("applied".into(), None, 1)
    );
    let beside = event(
        "evt_2",
        "invoice.payment_succeeded",
        invoice("paid", Some("7")),
    );
    assert_eq!(lab.take_one(&beside).await, APPLIED);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_waits_for_its_bookings_row() {
    let lab = Lab::with_bookings(&[]).await;
    assert_eq!(lab.take_one(&paid("evt_1", "7")).await, APPLIED);
    assert_eq!(lab.waiting().await, ["in_1 booking_missing"]);
    assert!(lab.invoices().await.is_empty());
    assert_eq!(lab.project_pending().await, 0);

    lab.book(7).await;
    assert_eq!(lab.project_pending().await, 1);
    assert_eq!(row(&lab).await, "7 in_1 PAID");
    assert_eq!(
        lab.ledger("evt_1").await.unwrap(),
        ("applied".into(), None, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_key_that_comes_later_is_respected() {
    let lab = Lab::new().await;
    assert_eq!(lab.take_one(&paid("evt_1", "1")).await, APPLIED);
    lab.client
        .batch_execute(
            r#"CREATE TABLE "Booking" ("id" SERIAL PRIMARY KEY); INSERT INTO "Booking" VALUES (1);
               ALTER TABLE "Invoice" ADD CONSTRAINT "Invoice_bookingId_fkey" FOREIGN KEY ("bookingId")
               REFERENCES "Booking"("id") ON DELETE RESTRICT ON UPDATE CASCADE"#,
        )
        .await
        .unwrap();
    lab.grant().await;
    let mut other = paid("evt_2", "2");
    other.object["id"] = json!("in_2");
    assert_eq!(lab.take_one(&other).await, APPLIED);
    assert_eq!(lab.pending().await, ["booking 2 foreign_key 1"]);
    lab.project_pending().await;
    assert_eq!(lab.waiting().await, ["in_2 booking_missing"]);
    assert_eq!(lab.pending().await, Vec::<String>::new());
    lab.book(2).await;
    lab.project_pending().await;
    assert_eq!(lab.invoices().await.len(), 2);
}

/// Stripe names only what has changed, and so not even the id.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_object_was_before_is_not_read() {
    let lab = Lab::new().await;
    for (number, before) in [
        json!({ "status": "draft", "number": null }),
        json!({}),
        json!(null),
        json!([7]),
        json!({ "metadata": 7, "total": "x" }),
    ]
    .into_iter()
    .enumerate()
    {
        lab.wipe().await;
        let id = format!("evt_{number}");
        let mut updated = event(&id, "invoice.updated", invoice("paid", Some("7")));
        updated.previous_attributes = Some(before.clone());
        assert_eq!(lab.take_one(&updated).await, APPLIED, "{before}");
        assert_eq!(row(&lab).await, "7 in_1 PAID", "{before}");
        let kind = "checkout.session.completed";
        let mut completed = event(&format!("evt_s{number}"), kind, session(json!("in_1")));
        completed.previous_attributes = Some(before.clone());
        assert_eq!(lab.take_one(&completed).await, APPLIED, "{before}");
    }
}

/// Rows that the main app made before the worker was there.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_an_invoice_that_was_never_heard_of_stays_until_one_of_the_booking_is() {
    let lab = Lab::new().await;
    lab.client
        .batch_execute(
            r#"INSERT INTO "Invoice" ("bookingId", "stripeInvoiceId", "pdfUrl", "amount",
                "currency", "status") VALUES (7, 'in_old', '', 45, 'eur', 'PAID')"#,
        )
        .await
        .unwrap();
    let abandoned = event("evt_1", "checkout.session.expired", session(Value::Null));
    lab.take_one(&abandoned).await;
    assert_eq!(row(&lab).await, "7 in_old PAID");
    lab.take_one(&paid("evt_2", "7")).await;
    assert_eq!(row(&lab).await, "7 in_1 PAID");
    let voided = event("evt_3", "invoice.voided", invoice("void", Some("7"))).at(i64::MAX >> 30);
    lab.take_one(&voided).await;
    assert_eq!(lab.invoices().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_session_is_not_unpaid_again() {
    let lab = Lab::new().await;
    let with = |id: &str, status: &str, at: i64| {
        let mut object = session(json!("in_1"));
        object["payment_status"] = json!(status);
        event(id, "checkout.session.completed", object).at(at)
    };
    lab.take(&[
        with("evt_1", "paid", 1_760_000_000),
        with("evt_2", "unpaid", 1_760_000_100),
    ])
    .await;
    assert_eq!(
        lab.rows("SELECT payment_status FROM stripe.checkout_session")
            .await,
        ["paid"]
    );
}
