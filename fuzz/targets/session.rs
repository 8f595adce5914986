//! Events of Checkout Sessions, with invoices to link: what is read of them,
//! and the rows they end in.
#![no_main]

use fuzz::{decision, history};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use worker::events::{Fact, session::SessionFact, version::value};

const TYPES: [&str; 7] = [
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "invoice.finalized",
    "invoice.paid",
    "invoice.voided",
];

fuzz_target!(|input: &[u8]| {
    let mut events = Vec::new();
    for body in history::bodies(input, &TYPES) {
        let Some(event) = decision::read(&body) else {
            continue;
        };
        if let (Fact::Session(fact), Some(object)) = (&event.fact, decision::object(&body)) {
            check(fact, &object);
        }
        events.push(event);
    }
    decision::end_state(&events);
});

fn check(fact: &SessionFact, object: &Value) {
    let session = &fact.session;
    assert_eq!(Some(&*fact.id), object["id"].as_str());
    let reference = object["client_reference_id"].as_str();
    let reference = reference.and_then(|text| text.parse::<i32>().ok());
    // What is no booking's id there is another shop's reference.
    match decision::booking(object) {
        Some(booking) => assert_eq!(fact.booking, Some(booking)),
        None => assert!(fact.booking.is_none() || fact.booking == reference),
    }
    let texts = [
        (&session.payment_status, object["payment_status"].as_str()),
        (&session.status, object["status"].as_str()),
        (&session.invoice, decision::expandable(object, "invoice")),
        (
            &session.payment_intent,
            decision::expandable(object, "payment_intent"),
        ),
    ];
    for (slot, expected) in texts {
        assert_eq!(value(slot).map(String::as_str), expected);
    }
}
