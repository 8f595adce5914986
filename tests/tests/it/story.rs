//! The story of a booking, over the real binaries: signed HTTP in, rows out.

use harness::{
    http,
    stripe::{Account, CheckoutSession, Event, Invoice, application, now, sign},
};
use serde_json::json;

use crate::support::Deployment;

const HOST: &str = "acct_1Host";
const MINUTE: i64 = 60;

const INVOICE: &str = r#"SELECT concat_ws(' ', "bookingId", "stripeInvoiceId", "status",
    trim_scale("amount"), "currency", "pdfUrl" <> '') FROM "Invoice""#;
const STATUS: &str =
    r#"SELECT concat_ws(' ', "hostId", "status", "canSell") FROM "HostOnboarding""#;

fn host_event(id: &str, kind: &str, object: serde_json::Value, minute: i64) -> Event {
    Event::new(id, kind, object)
        .of_account(HOST)
        .at(now() - 60 * MINUTE + minute * MINUTE)
}

fn invoice(status: &str) -> serde_json::Value {
    // The invoice of a Checkout Session does not say which booking it is of
    // unless the app has asked for it; here it has not.
    Invoice {
        id: "in_1".into(),
        status: status.into(),
        booking: None,
        total: 4599,
        ..Invoice::default()
    }
    .value()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_of_a_booking() {
    let dialoom = Deployment::start("story").await;
    let worker = dialoom.worker(dialoom.broker.url()).await;

    // A host opens an account and has everything still to do.
    let fresh = host_event("evt_1", "account.updated", Account::fresh(HOST, "ada"), 0);
    assert_eq!(dialoom.deliver(&fresh).await, 200);
    dialoom.until(STATUS, "ada INCOMPLETE f").await;

    // The host fills in the form, and can sell.
    let ready = Account {
        id: HOST.into(),
        host: Some("ada".into()),
        ..Account::default()
    };
    let ready = host_event("evt_2", "account.updated", ready.value(), 5);
    assert_eq!(dialoom.deliver(&ready).await, 200);
    dialoom.until(STATUS, "ada ENABLED t").await;

    // A guest pays. Stripe tells of the paid invoice first, which nobody can
    // place yet: it waits.
    let paid = host_event("evt_6", "invoice.paid", invoice("paid"), 12);
    assert_eq!(dialoom.deliver(&paid).await, 200);
    let waiting = "SELECT id || ' ' || waiting FROM stripe.invoice WHERE waiting IS NOT NULL";
    dialoom.until(waiting, "in_1 no_booking").await;

    // Then it tells of the session, which names booking 42. The main app is
    // still writing it.
    let session = CheckoutSession {
        invoice: Some("in_1".into()),
        booking: Some("42".into()),
        ..CheckoutSession::default()
    };
    let session = host_event("evt_5", "checkout.session.completed", session.value(), 11);
    assert_eq!(dialoom.deliver(&session).await, 200);
    dialoom.until(waiting, "in_1 booking_missing").await;
    assert_eq!(dialoom.read(INVOICE).await, "");

    // The booking is there, and has its invoice.
    dialoom.book(42).await;
    dialoom.until(INVOICE, "42 in_1 PAID 45.99 eur t").await;
    dialoom.until(waiting, "").await;

    // The draft and the finalised invoice come late, and everything twice. The
    // booking stays paid.
    let draft = host_event("evt_3", "invoice.created", invoice("draft"), 9);
    let open = host_event("evt_4", "invoice.finalized", invoice("open"), 10);
    for event in [&draft, &open, &paid, &session, &ready, &fresh] {
        assert_eq!(dialoom.deliver(event).await, 200);
    }
    let ledger = "SELECT string_agg(id || ' ' || outcome, ', ' ORDER BY id) FROM stripe.event";
    dialoom
        .until(
            ledger,
            "evt_1 applied, evt_2 applied, evt_3 stale, evt_4 stale, evt_5 applied, evt_6 applied",
        )
        .await;
    assert_eq!(dialoom.read(INVOICE).await, "42 in_1 PAID 45.99 eur t");
    assert_eq!(dialoom.read(STATUS).await, "ada ENABLED t");

    // Somebody else invents a paid invoice, and does not know the secret.
    let mut forged = paid.clone();
    forged.id = "evt_forged".into();
    forged.object["total"] = json!(1);
    let body = forged.bytes();
    let signature = sign("whsec_guessed", now(), &body);
    let answer = http::post_event(&dialoom.ingest.url(), &signature, body).await;
    assert_eq!(answer.unwrap().status.as_u16(), 400);

    // At last the host leaves. The invoice stays.
    let left = host_event(
        "evt_7",
        "account.application.deauthorized",
        application(),
        50,
    );
    assert_eq!(dialoom.deliver(&left).await, 200);
    dialoom.until(STATUS, "ada DISCONNECTED f").await;
    assert_eq!(dialoom.read(INVOICE).await, "42 in_1 PAID 45.99 eur t");
    let forged = "SELECT count(*)::text FROM stripe.event WHERE id = 'evt_forged'";
    assert_eq!(dialoom.read(forged).await, "0");
    assert_eq!(
        dialoom.broker.depth(&dialoom.broker.dead()).await.ok(),
        Some(0)
    );

    // No log has told anything of anybody.
    for log in [dialoom.ingest.log(), worker.log()] {
        for secret in ["whsec_", "guest@", "Sample guest", "pay.stripe.com", "v1="] {
            assert!(!log.contains(secret), "{secret} in a log:\n{log}");
        }
    }
}
