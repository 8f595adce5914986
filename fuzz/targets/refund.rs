//! Events of charges and credit notes, with an invoice and a session to find: what is read of
//! them, and the rows they end in.
#![no_main]

use domain::event::EventData;
use fuzz::{decision, history};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const TYPES: [&str; 6] = [
    "charge.refunded",
    "credit_note.created",
    "credit_note.updated",
    "credit_note.voided",
    "invoice.paid",
    "checkout.session.completed",
];

fuzz_target!(|input: &[u8]| {
    let mut deliveries = Vec::new();
    for body in history::bodies(input, &TYPES) {
        let Some(delivery) = decision::read(&body) else {
            continue;
        };
        let event = decision::event(&delivery);
        if let Some(object) = decision::object(&body) {
            check(&event.data, &object, &event.header.event_type);
        }
        deliveries.push(delivery);
    }
    let end = decision::end_state(&deliveries);
    for invoice in end.invoices.values() {
        let given_back = invoice.projection.as_ref().map(|one| one.given_back);
        assert!(given_back.is_none_or(|one| one.refunded >= 0 && one.credited >= 0));
    }
});

/// An amount that can be.
fn amount(object: &Value, name: &str) -> Option<i64> {
    object[name].as_i64().filter(|amount| *amount >= 0)
}

fn check(data: &EventData, object: &Value, event_type: &str) {
    match data {
        EventData::Charge(data) => {
            assert_eq!(Some(&*data.id), object["id"].as_str());
            let refunded = amount(object, "amount_refunded").unwrap_or(0);
            assert_eq!(data.charge.amount_refunded(), refunded);
        }
        EventData::CreditNote(data) => {
            assert_eq!(Some(&*data.id), object["id"].as_str());
            let is_void = event_type == "credit_note.voided" || object["status"] == "void";
            let total = amount(object, "total").or_else(|| amount(object, "amount"));
            let expected = (!is_void).then(|| total.unwrap_or(0));
            assert_eq!(data.note.amount(), expected);
        }
        EventData::Invoice(_)
        | EventData::CheckoutSession(_)
        | EventData::Account(_)
        | EventData::Ignored(_) => {}
    }
}
