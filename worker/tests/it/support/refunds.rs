//! Events of a paid booking, its refunds and its credit notes.

use harness::stripe::{ApiVersion, Charge, CheckoutSession, CreditNote, Event, Invoice};
use serde_json::json;

pub fn of_a(event: Event) -> Event {
    event.of_account("acct_a")
}

/// The events of a paid booking: its invoice, and the session that names it.
pub fn paid(version: ApiVersion) -> [Event; 2] {
    let invoice = Invoice {
        id: "in_1".into(),
        booking: None,
        version,
        ..Invoice::default()
    };
    let session = CheckoutSession {
        id: "cs_1".into(),
        invoice: Some("in_1".into()),
        booking: Some("1".into()),
        version,
        ..CheckoutSession::default()
    };
    let mut session = session.value();
    session["payment_intent"] = json!("pi_1");
    [
        of_a(Event::new("evt_in", "invoice.paid", invoice.value())),
        of_a(Event::new("evt_cs", "checkout.session.completed", session)),
    ]
}

pub fn refund(event: &str, charge: &str, intent: &str, refunded: i64) -> Event {
    let charge = Charge {
        id: charge.into(),
        intent: Some(intent.into()),
        refunded,
        ..Charge::default()
    };
    of_a(Event::new(event, "charge.refunded", charge.value()))
}

pub fn note(event: &str, note: &str, invoice: &str, total: i64) -> Event {
    let note = CreditNote {
        id: note.into(),
        invoice: invoice.into(),
        total,
        is_void: false,
    };
    of_a(Event::new(event, "credit_note.created", note.value()))
}
