//! AMQP properties as JSON and back, without loss: each value stands beside the
//! name of its AMQP type, and texts that JSON or Postgres cannot keep stand as
//! hex, as do values that are nested too deep to be read back.

use std::fmt::Write as _;

use lapin::{
    BasicProperties,
    types::{
        AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, LongString, ShortString,
        generation::gen_value, parsing::parse_value,
    },
};
use serde_json::{Map, Value, json};

/// How deep values are nested as JSON. serde_json reads 128 levels back, and each
/// of AMQP's takes three. The broker's own headers have three.
const MAX_DEPTH: usize = 16;

/// The most bytes of headers that are sent on. All properties of a message are one
/// frame, of 128 KiB at most; the broker ends a connection that sends a larger one.
const MOST_HEADERS: usize = 64 * 1024;

/// Headers to send on: as many as fit, in the order of their names. Ours take some
/// hundred bytes.
pub fn that_fit(headers: &FieldTable) -> FieldTable {
    let mut left = MOST_HEADERS;
    let mut fitting = FieldTable::default();
    for (name, value) in headers.inner() {
        let size = name.as_str().len() + 1 + wire(value).len();
        if let Some(rest) = left.checked_sub(size) {
            left = rest;
            fitting.insert(name.clone(), value.clone());
        }
    }
    fitting
}

/// The properties as JSON; absent ones are left out.
pub fn to_json(properties: &BasicProperties) -> Value {
    let mut json = Map::new();
    let texts = [
        ("content_type", properties.content_type()),
        ("content_encoding", properties.content_encoding()),
        ("correlation_id", properties.correlation_id()),
        ("reply_to", properties.reply_to()),
        ("expiration", properties.expiration()),
        ("message_id", properties.message_id()),
        ("type", properties.kind()),
        ("user_id", properties.user_id()),
        ("app_id", properties.app_id()),
        ("cluster_id", properties.cluster_id()),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            json.insert(name.into(), text(value.as_str().as_bytes()));
        }
    }
    for (name, value) in [
        ("delivery_mode", properties.delivery_mode()),
        ("priority", properties.priority()),
    ] {
        if let Some(value) = value {
            json.insert(name.into(), (*value).into());
        }
    }
    if let Some(timestamp) = properties.timestamp() {
        json.insert("timestamp".into(), (*timestamp).into());
    }
    if let Some(headers) = properties.headers() {
        json.insert("headers".into(), table(headers, 0));
    }
    Value::Object(json)
}

/// The properties that [`to_json`] wrote; what it did not write is left out.
pub fn from_json(json: &Value) -> BasicProperties {
    let mut properties = BasicProperties::default();
    let short = |name: &str| json.get(name).and_then(short_string);
    let octet = |name: &str| json.get(name)?.as_u64().and_then(|n| u8::try_from(n).ok());
    macro_rules! put {
        ($($name:literal $with:ident $read:ident),+ $(,)?) => {
            $(if let Some(value) = $read($name) { properties = properties.$with(value); })+
        };
    }
    put! {
        "content_type" with_content_type short,
        "content_encoding" with_content_encoding short,
        "correlation_id" with_correlation_id short,
        "reply_to" with_reply_to short,
        "expiration" with_expiration short,
        "message_id" with_message_id short,
        "type" with_type short,
        "user_id" with_user_id short,
        "app_id" with_app_id short,
        "cluster_id" with_cluster_id short,
        "delivery_mode" with_delivery_mode octet,
        "priority" with_priority octet,
    }
    if let Some(timestamp) = json.get("timestamp").and_then(Value::as_u64) {
        properties = properties.with_timestamp(timestamp);
    }
    match json.get("headers") {
        Some(headers) => properties.with_headers(table_of(headers)),
        None => properties,
    }
}

/// The properties to send again: without `user_id`, since the broker closes the channel of a
/// user who publishes in another's name.
pub fn to_send(json: &Value) -> BasicProperties {
    let mut json = json.clone();
    if let Some(properties) = json.as_object_mut() {
        properties.remove("user_id");
    }
    from_json(&json)
}

/// The headers of stored properties as lines for people: name and value.
pub fn headers_for_people(json: &Value) -> Vec<(String, String)> {
    let headers = json.get("headers").map(table_of).unwrap_or_default();
    let lines = headers.inner().iter();
    lines
        .map(|(name, value)| match plain(value) {
            Value::String(text) => (name.to_string(), text),
            value => (name.to_string(), value.to_string()),
        })
        .collect()
}

/// A value without its AMQP type, for people.
fn plain(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into(),
        AMQPValue::ShortString(text) => text.as_str().into(),
        AMQPValue::FieldArray(array) => array.as_slice().iter().map(plain).collect(),
        AMQPValue::FieldTable(table) => {
            let fields = table.inner().iter();
            let fields = fields.map(|(name, value)| (name.to_string(), plain(value)));
            Value::Object(fields.collect())
        }
        AMQPValue::Void => Value::Null,
        typed => {
            let typed = to_value(typed, 0);
            let value = typed.as_object().and_then(|typed| typed.values().next());
            value.cloned().unwrap_or_default()
        }
    }
}

/// Bytes as JSON: text where it is text that Postgres can keep, else hex.
fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => text.into(),
        Ok(_) | Err(_) => json!({ "hex": hex(bytes) }),
    }
}

fn bytes_of(json: &Value) -> Option<Vec<u8>> {
    match json {
        Value::String(text) => Some(text.clone().into_bytes()),
        json => unhex(json.get("hex")?.as_str()?),
    }
}

fn short_string(json: &Value) -> Option<ShortString> {
    let text = String::from_utf8(bytes_of(json)?).ok()?;
    ShortString::try_new(text).ok()
}

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _infallible = write!(hex, "{byte:02x}");
    }
    hex
}

fn unhex(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// A table as a list of pairs: names may be any text.
fn table(table: &FieldTable, depth: usize) -> Value {
    let pairs = table.inner().iter();
    pairs
        .map(|(name, value)| json!([text(name.as_str().as_bytes()), to_value(value, depth)]))
        .collect()
}

/// A value as it is on the wire.
fn wire(value: &AMQPValue) -> Vec<u8> {
    // Writing to memory does not fail.
    gen_value(value)(Vec::new().into()).map_or_else(|_| Vec::new(), |written| written.write)
}

fn table_of(json: &Value) -> FieldTable {
    let mut table = FieldTable::default();
    for pair in json.as_array().into_iter().flatten() {
        let name = pair.get(0).and_then(short_string);
        if let (Some(name), Some(value)) = (name, pair.get(1).and_then(value_of)) {
            table.insert(name, value);
        }
    }
    table
}

fn to_value(value: &AMQPValue, depth: usize) -> Value {
    match value {
        AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) if depth == MAX_DEPTH => {
            json!({ "wire": hex(&wire(value)) })
        }
        AMQPValue::Boolean(value) => json!({ "boolean": value }),
        AMQPValue::ShortShortInt(value) => json!({ "i8": value }),
        AMQPValue::ShortShortUInt(value) => json!({ "u8": value }),
        AMQPValue::ShortInt(value) => json!({ "i16": value }),
        AMQPValue::ShortUInt(value) => json!({ "u16": value }),
        AMQPValue::LongInt(value) => json!({ "i32": value }),
        AMQPValue::LongUInt(value) => json!({ "u32": value }),
        AMQPValue::LongLongInt(value) => json!({ "i64": value }),
        // By their bits: JSON has no infinities.
        AMQPValue::Float(value) => json!({ "f32": value.to_bits() }),
        AMQPValue::Double(value) => json!({ "f64": value.to_bits() }),
        AMQPValue::DecimalValue(value) => json!({ "decimal": [value.scale, value.value] }),
        AMQPValue::ShortString(value) => json!({ "short": text(value.as_str().as_bytes()) }),
        AMQPValue::LongString(value) => json!({ "text": text(value.as_bytes()) }),
        AMQPValue::FieldArray(array) => {
            let values = array.as_slice().iter();
            json!({ "array": values.map(|value| to_value(value, depth + 1)).collect::<Vec<_>>() })
        }
        AMQPValue::Timestamp(value) => json!({ "timestamp": value }),
        AMQPValue::FieldTable(fields) => json!({ "table": table(fields, depth + 1) }),
        AMQPValue::ByteArray(value) => json!({ "bytes": hex(value.as_slice()) }),
        AMQPValue::Void => json!({ "void": null }),
    }
}

fn value_of(json: &Value) -> Option<AMQPValue> {
    let (kind, value) = json.as_object()?.iter().next()?;
    let signed = value.as_i64();
    let unsigned = value.as_u64();
    Some(match kind.as_str() {
        "boolean" => AMQPValue::Boolean(value.as_bool()?),
        "i8" => AMQPValue::ShortShortInt(signed?.try_into().ok()?),
        "u8" => AMQPValue::ShortShortUInt(unsigned?.try_into().ok()?),
        "i16" => AMQPValue::ShortInt(signed?.try_into().ok()?),
        "u16" => AMQPValue::ShortUInt(unsigned?.try_into().ok()?),
        "i32" => AMQPValue::LongInt(signed?.try_into().ok()?),
        "u32" => AMQPValue::LongUInt(unsigned?.try_into().ok()?),
        "i64" => AMQPValue::LongLongInt(signed?),
        "f32" => AMQPValue::Float(f32::from_bits(unsigned?.try_into().ok()?)),
        "f64" => AMQPValue::Double(f64::from_bits(unsigned?)),
        "decimal" => AMQPValue::DecimalValue(DecimalValue {
            scale: value.get(0)?.as_u64()?.try_into().ok()?,
            value: value.get(1)?.as_u64()?.try_into().ok()?,
        }),
        "short" => AMQPValue::ShortString(short_string(value)?),
        "text" => AMQPValue::LongString(LongString::from(bytes_of(value)?)),
        "array" => {
            let values = value.as_array()?.iter().filter_map(value_of);
            AMQPValue::FieldArray(FieldArray::from(values.collect::<Vec<_>>()))
        }
        "timestamp" => AMQPValue::Timestamp(unsigned?),
        "table" => AMQPValue::FieldTable(table_of(value)),
        "bytes" => AMQPValue::ByteArray(ByteArray::from(unhex(value.as_str()?)?)),
        "wire" => parse_value(unhex(value.as_str()?)?.as_slice()).ok()?.1,
        "void" => AMQPValue::Void,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
