//! What holds for every event that can be read, and for the end state of any
//! history of them.

use crate::memory::Memory;
use serde_json::Value;
use event::Mode;
use worker::events::{self, Event, Fact, Rules, fields};

/// Reads a body and checks what holds for each.
pub fn read(body: &[u8]) -> Option<Event> {
    let rules = Rules {
        mode: Mode::Test,
        booking_key: "bookingId".into(),
    };
    match events::read(body, &rules) {
        Ok(event) => {
            check_header(&event, body);
            check_texts(&event);
            Some(event)
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
pub fn booking(object: &Value) -> Option<i32> {
    match &object["metadata"]["bookingId"] {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

fn check_header(event: &Event, body: &[u8]) {
    let Ok(envelope) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    let header = &event.header;
    assert_eq!(Some(&*header.id), envelope["id"].as_str());
    assert_eq!(Some(&*header.event_type), envelope["type"].as_str());
    assert_eq!(header.account.as_deref(), text(&envelope, "account"));
}

/// Postgres can keep whatever was taken in.
fn check_texts(event: &Event) {
    let kept = match &event.fact {
        Fact::Invoice(fact) => serde_json::to_value(&fact.invoice),
        Fact::Session(fact) => serde_json::to_value(&fact.session),
        Fact::Account(fact) => match &fact.sign {
            events::account::Sign::Updated(candidate) => serde_json::to_value(candidate),
            _ => return,
        },
        Fact::Ignored(_) => return,
    };
    check_value(&kept.unwrap());
    let id = event.object_id().unwrap();
    assert!((1..=fields::MAX_ID).contains(&id.len()) && !id.contains('\0'));
}

fn check_value(value: &Value) {
    match value {
        Value::String(text) => assert!(text.len() <= fields::MAX_TEXT && !text.contains('\0')),
        Value::Array(values) => values.iter().for_each(check_value),
        Value::Object(fields) => fields.values().for_each(check_value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The end state is a function of the set of events: whatever their order,
/// their repetition and their cut into units.
pub fn end_state(events: &[Event]) -> Memory {
    let forwards: Vec<&Event> = events.iter().collect();
    let backwards: Vec<&Event> = events.iter().rev().collect();
    let mut whole = Memory::default();
    whole.take(&forwards);

    let mut one_by_one = Memory::default();
    for event in &backwards {
        one_by_one.take(&[event]);
        let before = one_by_one.clone();
        one_by_one.take(&[event]);
        assert_eq!(one_by_one, before, "a duplicate changed something");
    }
    assert_eq!(one_by_one, whole);

    // A replay judges an applied event again: that changes nothing either.
    whole.ledger.clear();
    whole.take(&backwards);
    assert_eq!(one_by_one, whole);
    whole
}
