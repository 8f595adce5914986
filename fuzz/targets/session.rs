//! Events of Checkout Sessions, with invoices to link: what is read of them,
//! and the rows they end in.
#![no_main]

use domain::event::EventData;
use domain::{checkout_session::CheckoutSessionData, ids::BookingId, merge::value};
use fuzz::{decision, history};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use worker::pipeline::delivery::Delivery;

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
    let mut deliveries = Vec::new();
    for body in history::bodies(input, &TYPES) {
        let Some(delivery) = decision::read(&body) else {
            continue;
        };
        let data = &decision::event(&delivery).data;
        if let (EventData::CheckoutSession(data), Some(object)) = (data, decision::object(&body)) {
            check(data, &object, &delivery);
        }
        deliveries.push(delivery);
    }
    decision::end_state(&deliveries);
});

const PAYMENT_STATUSES: [&str; 3] = ["unpaid", "paid", "no_payment_required"];
const STATUSES: [&str; 4] = ["open", "complete", "expired", "payment_failed"];

/// The text, where it is one of these.
fn known<'a>(all: &[&str], value: &'a Value) -> Option<&'a str> {
    value.as_str().filter(|text| all.contains(text))
}

fn check(data: &CheckoutSessionData, object: &Value, delivery: &Delivery) {
    let session = &data.session;
    assert_eq!(Some(&*data.id), object["id"].as_str());
    let reference = object["client_reference_id"].as_str();
    let reference = reference.and_then(|text| text.parse::<i32>().ok());
    // What is no booking's id there is another shop's reference.
    match decision::booking(object) {
        Some(booking) => assert_eq!(data.booking, Some(booking)),
        None => assert!(data.booking.is_none() || data.booking == reference.map(BookingId)),
    }
    let payment_status = value(&session.payment_status).map(|status| status.as_str());
    let status = value(&session.status).map(|status| status.as_str());
    let invoice = value(&session.invoice).map(|invoice| invoice.as_str());
    let payment_intent = value(&session.payment_intent).map(|intent| intent.as_str());
    let event_type = &decision::event(delivery).header.event_type;
    let expected_status = match event_type == "checkout.session.async_payment_failed" {
        true => Some("payment_failed"),
        false => known(&STATUSES, &object["status"]),
    };
    let texts = [
        (
            payment_status,
            known(&PAYMENT_STATUSES, &object["payment_status"]),
        ),
        (status, expected_status),
        (invoice, decision::expandable(object, "invoice")),
        (
            payment_intent,
            decision::expandable(object, "payment_intent"),
        ),
    ];
    for (kept, expected) in texts {
        assert_eq!(kept, expected);
    }
}
