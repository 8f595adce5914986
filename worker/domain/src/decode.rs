//! Reading Stripe's JSON: small, lenient about what is absent, strict about
//! what is there.
//!
//! Events of many API versions arrive side by side (2019 to 2026), so nothing
//! but an object's id is demanded and no field is read that is not needed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{ids::BookingId, rejection::Rejection};

/// The longest id, status or code that is kept, in bytes. Stripe's ids have at
/// most 255 characters by its own documentation.
pub const MAX_ID: usize = 255;
/// The longest other text that is kept, in bytes: invoice URLs carry tokens of
/// some hundred bytes.
pub const MAX_TEXT: usize = 8 * 1024;
/// The longest value of metadata that is kept, in bytes: Stripe has at most 500 characters, and
/// an index of Postgres takes 2,704 bytes.
pub const MAX_METADATA: usize = 2000;
/// The longest code that is kept, in bytes: Stripe's longest has 59.
const MAX_CODE: usize = 100;
/// The last second of the year 9999, which both Postgres and chrono can hold.
const MAX_TIME: i64 = 253_402_300_799;

/// `data` of an event, with `object` read as `T`.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub struct Data<'a, T> {
    /// The snapshot of the object.
    pub object: T,
    /// What the changed attributes were before, as it stands there: it names the
    /// changed ones alone, so not even an id may be demanded of it, and most
    /// readers do not need it.
    #[serde(borrow)]
    pub previous_attributes: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Body<'a, T> {
    #[serde(borrow)]
    data: Data<'a, T>,
}

/// Reads `data` of an event.
pub fn data<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<Data<'a, T>, Rejection> {
    serde_json::from_slice::<Body<'a, T>>(body)
        .map(|body| body.data)
        .map_err(|error| Rejection::UnreadableObject {
            column: error.column(),
        })
}

/// A reference that Stripe gives as an id or, where expanded, as the object.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Expandable {
    /// The id.
    Id(String),
    /// The object.
    Object {
        /// Its id.
        id: String,
    },
}

impl Expandable {
    /// The id, either way.
    pub fn into_id(self) -> String {
        match self {
            Self::Id(id) | Self::Object { id } => id,
        }
    }
}

/// Checks the kind of an object, where it says one.
pub fn kind(object: Option<&str>, expected: &'static str) -> Result<(), Rejection> {
    match object {
        Some(kind) if kind != expected => Err(Rejection::OtherObject { expected }),
        _ => Ok(()),
    }
}

/// An id: not empty, and as [`text`].
pub fn id(value: String, field: &'static str) -> Result<String, Rejection> {
    if value.is_empty() {
        return Err(Rejection::UnreadableObject { column: 0 });
    }
    text(value, field, MAX_ID)
}

/// A text that Postgres can keep: no NUL, not longer than `limit` bytes.
pub fn text(value: String, field: &'static str, limit: usize) -> Result<String, Rejection> {
    if value.contains('\0') {
        Err(Rejection::NulInText { field })
    } else if value.len() > limit {
        Err(Rejection::TextTooLong { field, limit })
    } else {
        Ok(value)
    }
}

/// As [`text`], where there is one. An empty text is none: Stripe has no field
/// in which the two differ.
pub fn optional_text(
    value: Option<String>,
    field: &'static str,
    limit: usize,
) -> Result<Option<String>, Rejection> {
    value
        .filter(|value| !value.is_empty())
        .map(|value| text(value, field, limit))
        .transpose()
}

/// A time in Unix seconds that Postgres can keep.
pub fn time(seconds: i64, field: &'static str) -> Result<i64, Rejection> {
    if (0..=MAX_TIME).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(Rejection::TimeOutOfRange { field })
    }
}

/// An amount that was given back, in minor units. Stripe has no negative ones: such a value
/// says nothing.
pub fn amount(minor: Option<i64>) -> Option<i64> {
    minor.filter(|minor| *minor >= 0)
}

/// A code of Stripe's, such as `invoice_no_customer_line_items`. Whatever else stands there is
/// left out: it explains and decides nothing, and free text may hold personal data.
pub fn code(value: Option<String>) -> Option<String> {
    let is_code = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    value.filter(|text| (1..=MAX_CODE).contains(&text.len()) && text.bytes().all(is_code))
}

/// The moment of Unix milliseconds that Postgres can keep.
pub fn moment_of_millis(millis: i64) -> Option<DateTime<Utc>> {
    let moment = DateTime::from_timestamp_millis(millis)?;
    time(moment.timestamp(), "millis").ok().map(|_| moment)
}

/// The moment of Unix seconds that [`time`] let through; 1970 for any other.
pub fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}

/// The booking that an object's metadata names under `key`.
///
/// Stripe's metadata values are strings; a number is read as well. The id is
/// written as the main app's integer is: digits, no sign, no leading zero.
/// Metadata that is no object names none, and other keys may hold anything.
pub fn booking(metadata: Option<&RawValue>, key: &str) -> Result<Option<BookingId>, Rejection> {
    let names = |metadata: &RawValue| {
        let values: BTreeMap<String, &RawValue> = serde_json::from_str(metadata.get()).ok()?;
        Some(serde_json::from_str::<Value>(values.get(key)?.get()))
    };
    match metadata.and_then(names) {
        None | Some(Ok(Value::Null)) => Ok(None),
        Some(Ok(Value::String(text))) if text.is_empty() => Ok(None),
        Some(Ok(Value::String(text))) => booking_id(&text).map(Some),
        Some(Ok(Value::Number(number))) => booking_id(&number.to_string()).map(Some),
        Some(Ok(Value::Bool(_) | Value::Array(_) | Value::Object(_)) | Err(_)) => {
            Err(Rejection::InvalidBookingId)
        }
    }
}

/// Reads a booking's id.
pub fn booking_id(text: &str) -> Result<BookingId, Rejection> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit())
        && !text.starts_with('0')
        && !text.is_empty();
    if !canonical {
        return Err(Rejection::InvalidBookingId);
    }
    let id = text.parse().map_err(|_| Rejection::InvalidBookingId)?;
    Ok(BookingId(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_booking_id_is_a_positive_integer_and_nothing_else() {
        assert_eq!(booking_id("42"), Ok(BookingId(42)));
        assert_eq!(booking_id("2147483647"), Ok(BookingId(i32::MAX)));
        for wrong in [
            "",
            "0",
            "042",
            "-1",
            "+1",
            " 42",
            "42 ",
            "4.2",
            "abc",
            "2147483648",
            "٤٢",
        ] {
            assert_eq!(
                booking_id(wrong),
                Err(Rejection::InvalidBookingId),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn only_the_one_key_of_the_metadata_is_read() {
        let named = |json: &str| {
            let metadata: Option<&RawValue> = serde_json::from_str(json).unwrap();
            booking(metadata, "bookingId")
        };
        assert_eq!(
            named(r#"{"bookingId": "7", "note": "x"}"#),
            Ok(Some(BookingId(7)))
        );
        assert_eq!(
            named(r#"{"other": 1e999, "bookingId": 7}"#),
            Ok(Some(BookingId(7)))
        );
        assert_eq!(
            named(r#"{"other": "\ud800", "bookingId": "7"}"#),
            Ok(Some(BookingId(7)))
        );
        for none in ["null", "{}", "[]", r#""7""#, r#"{"bookingId": null}"#] {
            assert_eq!(named(none), Ok(None), "{none}");
        }
        for wrong in [r#"{"bookingId": "\ud800"}"#, r#"{"bookingId": [7]}"#] {
            assert_eq!(named(wrong), Err(Rejection::InvalidBookingId), "{wrong}");
        }
    }

    #[test]
    fn an_expandable_field_is_an_id_or_an_object() {
        let read = |json| {
            serde_json::from_str::<Option<Expandable>>(json)
                .unwrap()
                .map(Expandable::into_id)
        };
        assert_eq!(read(r#""in_1""#).as_deref(), Some("in_1"));
        assert_eq!(
            read(r#"{"id":"in_1","object":"invoice"}"#).as_deref(),
            Some("in_1")
        );
        assert_eq!(read("null"), None);
    }

    #[test]
    fn a_text_with_nul_is_refused_by_name() {
        assert_eq!(
            optional_text(Some("a\0b".into()), "invoice.number", 10),
            Err(Rejection::NulInText {
                field: "invoice.number"
            })
        );
    }
}
