//! What holds for every event that can be read, and for the end state of any
//! history of them.

use crate::memory::{Memory, Tables};
use domain::account::AccountChange;
use domain::decode::{MAX_ID, MAX_TEXT};
use domain::ids::BookingId;
use domain::{
    event::{Event, EventData, decode},
    rules::Rules,
};
use event::Mode;
use lapin::message::Delivery as Message;
use serde_json::Value;
use std::sync::LazyLock;
use tokio::runtime::{Builder, Runtime};
use worker::pipeline::delivery::{Decoder, Delivery};

static DECODER: LazyLock<Decoder> = LazyLock::new(|| Decoder {
    rules: Rules {
        mode: Mode::Test,
        booking_key: "bookingId".into(),
        // So that a session's reference is read as well.
        client_reference: true,
        // Else an invoice names a booking only where the fuzzer has found the application.
        application: None,
    },
    decode,
});

/// The tables in memory never wait for anything: one thread is enough.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().unwrap());

/// Reads a body as the worker reads a message of the queue, and checks what holds
/// for each.
pub fn read(body: &[u8]) -> Option<Delivery> {
    let (exchange, key) = ("stripe.events".into(), "invoice.paid".into());
    let message = Message::mock(1, exchange, key, false, body.to_vec());
    let delivery = DECODER.delivery(message).unwrap();
    match &delivery.decoded {
        Ok(event) => {
            check_header(event, body);
            check_texts(event);
            Some(delivery)
        }
        Err(rejected) => {
            // A reason is a sentence of ours. It quotes nothing.
            let line = rejected.rejection.to_string();
            assert!(
                line.is_ascii() && line.len() < 160 && line.ends_with('.'),
                "{line}"
            );
            None
        }
    }
}

/// The event of a delivery that could be read.
pub fn event(delivery: &Delivery) -> &Event {
    delivery.decoded.as_ref().unwrap()
}

/// `data.object`, as serde_json reads it. It gives up at a depth of 128.
pub fn object(body: &[u8]) -> Option<Value> {
    let mut event: Value = serde_json::from_slice(body).ok()?;
    Some(event["data"]["object"].take())
}

/// A text as the worker takes one: an empty one is none.
pub fn text<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object[name].as_str().filter(|text| !text.is_empty())
}

/// The id of an expandable field.
pub fn expandable<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    let id = object[name]
        .as_str()
        .or_else(|| object[name]["id"].as_str());
    id.filter(|id| !id.is_empty())
}

/// The booking that the metadata names.
pub fn booking(object: &Value) -> Option<BookingId> {
    let id = match &object["metadata"]["bookingId"] {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    };
    id.map(BookingId)
}

fn check_header(event: &Event, body: &[u8]) {
    let Ok(envelope) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    let header = &event.header;
    assert_eq!(Some(&*header.id), envelope["id"].as_str());
    assert_eq!(Some(&*header.event_type), envelope["type"].as_str());
    if let Some(account) = text(&envelope, "account") {
        assert_eq!(header.account.as_deref(), Some(account));
    } else if let Some(account) = &header.account {
        let context = envelope["context"].as_str().unwrap();
        assert!(context.ends_with(account.as_str()));
    }
}

/// Postgres can keep whatever was taken in.
fn check_texts(event: &Event) {
    let kept = match &event.data {
        EventData::Invoice(data) => serde_json::to_value(&data.invoice),
        EventData::CheckoutSession(data) => serde_json::to_value(&data.session),
        EventData::Account(data) => match &data.change {
            AccountChange::Updated(candidate) => serde_json::to_value(candidate),
            AccountChange::Authorized(application) | AccountChange::Deauthorized(application) => {
                serde_json::to_value(application)
            }
            AccountChange::Changed | AccountChange::Closed => Ok(Value::Null),
        },
        EventData::Charge(data) => {
            let charge = &data.charge;
            serde_json::to_value((&charge.payment_intent, &charge.invoice))
        }
        EventData::CreditNote(data) => serde_json::to_value(&data.note.invoice),
        EventData::Ignored(_) => return,
    };
    check_value(&kept.unwrap());
    let id = event.object_id().unwrap();
    assert!((1..=MAX_ID).contains(&id.len()) && !id.contains('\0'));
}

fn check_value(value: &Value) {
    match value {
        Value::String(text) => assert!(text.len() <= MAX_TEXT && !text.contains('\0')),
        Value::Array(values) => values.iter().for_each(check_value),
        Value::Object(fields) => fields.values().for_each(check_value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The end state is a function of the set of events: whatever their order,
/// their repetition and their cut into batches.
pub fn end_state(deliveries: &[Delivery]) -> Tables {
    RUNTIME.block_on(end_state_of(deliveries))
}

async fn end_state_of(deliveries: &[Delivery]) -> Tables {
    let backwards: Vec<Delivery> = deliveries.iter().rev().cloned().collect();
    let whole = Memory::default();
    whole.take(deliveries).await;

    let one_by_one = Memory::default();
    for delivery in backwards.chunks(1) {
        one_by_one.take(delivery).await;
        let before = one_by_one.tables().clone();
        one_by_one.take(delivery).await;
        assert_eq!(
            *one_by_one.tables(),
            before,
            "a duplicate changed something"
        );
    }
    assert_eq!(*one_by_one.tables(), *whole.tables());

    // A replay decides an applied event again: that changes nothing either.
    whole.decide_again(&backwards).await;
    assert_eq!(*one_by_one.tables(), *whole.tables());
    whole.tables().clone()
}
