//! Events of invoices: what is read of them, and the rows they end in.
#![no_main]

use fuzz::{decision, history};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use worker::events::{Fact, invoice::InvoiceFact, version::value};

const TYPES: [&str; 10] = [
    "invoice.created",
    "invoice.finalized",
    "invoice.sent",
    "invoice.updated",
    "invoice.paid",
    "invoice.payment_succeeded",
    "invoice.payment_failed",
    "invoice.voided",
    "invoice.marked_uncollectible",
    "invoice.deleted",
];

fuzz_target!(|input: &[u8]| {
    let mut events = Vec::new();
    for body in history::bodies(input, &TYPES) {
        let Some(event) = decision::read(&body) else {
            continue;
        };
        if let (Fact::Invoice(fact), Some(object)) = (&event.fact, decision::object(&body)) {
            check(fact, &object, &event.header.event_type);
        }
        events.push(event);
    }
    let end = decision::end_state(&events);
    for shown in end.shown.values() {
        assert!(["DRAFT", "SENT", "PAID"].contains(&&*shown.status));
        assert!(!shown.amount.is_empty() && !shown.currency.is_empty());
    }
});

fn check(fact: &InvoiceFact, object: &Value, event_type: &str) {
    let invoice = &fact.invoice;
    let status = match event_type {
        "invoice.deleted" => "deleted",
        _ => object["status"].as_str().unwrap_or("draft"),
    };
    assert_eq!(invoice.status.value.as_str(), status);
    assert_eq!(invoice.status.version.rank, invoice.status.value.rank());
    assert_eq!(Some(&*fact.id), object["id"].as_str());
    assert_eq!(fact.booking, decision::booking(object));
    assert_eq!(value(&invoice.total).copied(), object["total"].as_i64());
    assert_eq!(value(&invoice.created).copied(), object["created"].as_i64());
    let texts = [
        (&invoice.currency, "currency"),
        (&invoice.number, "number"),
        (&invoice.hosted_url, "hosted_invoice_url"),
        (&invoice.pdf_url, "invoice_pdf"),
    ];
    for (slot, name) in texts {
        assert_eq!(
            value(slot).map(String::as_str),
            decision::text(object, name),
            "{name}"
        );
    }
}
