//! Events of invoices: what is read of them, and the rows they end in.
#![no_main]

use domain::event::EventData;
use domain::{invoice::InvoiceData, merge::value};
use fuzz::{decision, history};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

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
    let mut deliveries = Vec::new();
    for body in history::bodies(input, &TYPES) {
        let Some(delivery) = decision::read(&body) else {
            continue;
        };
        let event = decision::event(&delivery);
        if let (EventData::Invoice(data), Some(object)) = (&event.data, decision::object(&body)) {
            check(data, &object, &event.header.event_type);
        }
        deliveries.push(delivery);
    }
    let end = decision::end_state(&deliveries);
    for (booking, row) in &end.invoice_rows {
        assert_eq!(row.booking_id, *booking);
        assert!(row.status.is_some());
        assert!(!row.amount.is_empty() && !row.currency.is_empty());
    }
});

fn check(data: &InvoiceData, object: &Value, event_type: &str) {
    let invoice = &data.invoice;
    let status = match event_type {
        "invoice.deleted" => "deleted",
        _ => object["status"].as_str().unwrap_or("draft"),
    };
    assert_eq!(invoice.status.value.as_str(), status);
    assert_eq!(invoice.status.order.rank, invoice.status.value.rank());
    assert_eq!(Some(&*data.id), object["id"].as_str());
    assert_eq!(data.booking, decision::booking(object));
    assert_eq!(value(&invoice.total).copied(), object["total"].as_i64());
    assert_eq!(value(&invoice.created).copied(), object["created"].as_i64());
    let texts = [
        (&invoice.currency, "currency"),
        (&invoice.number, "number"),
        (&invoice.hosted_url, "hosted_invoice_url"),
        (&invoice.pdf_url, "invoice_pdf"),
    ];
    for (register, name) in texts {
        assert_eq!(
            value(register).map(String::as_str),
            decision::text(object, name),
            "{name}"
        );
    }
}
