//! A command of the main app, from the bytes of its message to its fields.
//!
//! Input: a byte that chooses the routing key, and the message.
#![no_main]

use std::fmt;

use fuzz::storable;
use libfuzzer_sys::{Corpus, fuzz_target};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};
use worker::commands::{
    command::{Command, Name},
    error::CommandError,
    input::MAX_TEXT,
    wire::{self, Request},
};

/// The queue's name is the routing key of NestJS's packets.
const QUEUE: &str = "stripe.commands";
/// The longest message of an error: ten problems, each of a name and a sentence.
const MAX_MESSAGE: usize = 4096;
/// An amount in minor units has twelve digits at most.
const MOST_AMOUNT: i64 = 1_000_000_000_000;

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((first, body)) = input.split_first() else {
        return Corpus::Reject;
    };
    let name = Name::ALL.get(usize::from(*first));
    let routing_key = name.map_or(QUEUE, |name| name.as_str());
    let request = match wire::read(routing_key, body) {
        Ok(request) => request,
        Err(error) => {
            assert_eq!(expected(routing_key, body), None, "it can be read");
            refused(&error, "invalid_command", None);
            return Corpus::Keep;
        }
    };
    assert_eq!(Some(&request), expected(routing_key, body).as_ref());
    let id = request.id.as_deref();
    let name = match Name::read(&request.name) {
        Ok(name) => name,
        Err(error) => {
            refused(&error, "unknown_command", id);
            return Corpus::Keep;
        }
    };
    assert_eq!(name.as_str(), request.name);
    match Command::read(name, request.data.clone()) {
        Ok(command) => {
            taken(&command);
            again(name, &request.data, &command);
        }
        Err(error) => refused(&error, "invalid_command", id),
    }
    Corpus::Keep
});

/// What the message says, by serde_json's own reader; `None` where it is no command.
fn expected(routing_key: &str, body: &[u8]) -> Option<Request> {
    let Value::Object(mut fields) = read(body)? else {
        return None;
    };
    if !fields.contains_key("pattern") {
        return Some(Request {
            name: routing_key.to_owned(),
            data: Value::Object(fields),
            id: None,
        });
    }
    let name = match &fields["pattern"] {
        Value::String(text) if text.starts_with('{') => {
            read(text.as_bytes())?["cmd"].as_str()?.to_owned()
        }
        Value::String(text) => text.clone(),
        Value::Object(pattern) => pattern.get("cmd")?.as_str()?.to_owned(),
        _ => return None,
    };
    let id = fields.get("id").and_then(Value::as_str);
    Some(Request {
        name,
        id: id.filter(|id| id.len() <= 200).map(str::to_owned),
        data: fields.remove("data").unwrap_or_else(|| json!({})),
    })
}

/// The value, unless an object in it names a field twice: then it has fewer fields than were
/// written.
fn read(text: &[u8]) -> Option<Value> {
    let value: Value = serde_json::from_slice(text).ok()?;
    let Written(fields) = serde_json::from_slice(text).ok()?;
    (fields == fields_of(&value)).then_some(value)
}

fn fields_of(value: &Value) -> usize {
    match value {
        Value::Object(fields) => fields.values().map(|value| 1 + fields_of(value)).sum(),
        Value::Array(items) => items.iter().map(fields_of).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// How many fields the objects of a text have, with those that are named twice.
struct Written(usize);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(Count).map(Self)
    }
}

struct Count;

impl<'de> Visitor<'de> for Count {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_bool<E>(self, _: bool) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_i64<E>(self, _: i64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_u64<E>(self, _: u64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_f64<E>(self, _: f64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_str<E>(self, _: &str) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<usize, A::Error> {
        let mut fields = 0;
        while let Some(Written(more)) = items.next_element()? {
            fields += more;
        }
        Ok(fields)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<usize, A::Error> {
        let mut fields = 0;
        while let Some((_, Written(more))) = entries.next_entry::<String, _>()? {
            fields += 1 + more;
        }
        Ok(fields)
    }
}

/// The fields fit into what they are for: columns of Postgres and parameters of Stripe's.
fn taken(command: &Command) {
    let text = |text: &String| storable::text(text, MAX_TEXT);
    match command {
        Command::HostOnboard(onboard) => {
            for field in [&onboard.host, &onboard.email, &onboard.refresh_url] {
                text(field);
            }
            text(&onboard.return_url);
            onboard.display_name.iter().for_each(text);
            onboard.capabilities.iter().for_each(text);
            assert_eq!(onboard.country.len(), 2);
        }
        Command::HostSession { host, components } => {
            text(host);
            assert!(!components.is_empty());
        }
        Command::HostDashboard { host }
        | Command::HostStatus { host }
        | Command::HostInvoicing { host } => text(host),
        Command::HostInvoices { host, after } => {
            text(host);
            after.iter().for_each(text);
        }
        Command::BookingCheckout(checkout) => {
            for field in [&checkout.host, &checkout.description] {
                text(field);
            }
            for field in [&checkout.success_url, &checkout.cancel_url] {
                text(field);
            }
            checkout.email.iter().for_each(text);
            assert!((1..MOST_AMOUNT).contains(&checkout.amount));
            let (amount, currency) = (checkout.amount, &checkout.currency);
            let fee = checkout.fee.map(|fee| fee.of(amount, currency));
            assert!(fee.is_none_or(|fee| (0..=checkout.amount).contains(&fee)));
            assert!(checkout.booking.0 > 0);
        }
        Command::BookingCancel { booking } | Command::BookingInvoice { booking } => {
            assert!(booking.0 > 0);
        }
    }
}

/// The same command in NestJS's packet is the same, and with one field more it is refused.
fn again(name: Name, data: &Value, command: &Command) {
    let packet = json!({ "pattern": name.as_str(), "data": data, "id": "1" }).to_string();
    // A message on its limit has no place for more.
    if let Ok(request) = wire::read(QUEUE, packet.as_bytes()) {
        let packed = Command::read(name, request.data).expect("the same command");
        assert_eq!(format!("{packed:?}"), format!("{command:?}"));
    }
    let mut fields: Map<String, Value> = data.as_object().cloned().expect("an object");
    fields.insert("no field".into(), json!(1));
    let error = Command::read(name, fields.into()).expect_err("an unknown field");
    assert_eq!(error.message, "no field is not known");
}

/// An error is short, and the answer with it is JSON.
fn refused(error: &CommandError, code: &str, id: Option<&str>) {
    assert_eq!((error.code, error.retryable), (code, false));
    assert!(error.message.len() <= MAX_MESSAGE, "{}", error.message);
    let answer = wire::answer(&Err(error.clone()), id);
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!(answer["err"]["code"], code);
    assert_eq!(answer["err"]["message"], error.message);
    assert_eq!(answer["id"].as_str(), id);
    assert_eq!(answer["isDisposed"], true);
}
