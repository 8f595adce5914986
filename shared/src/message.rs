//! An event as an AMQP message. The body is the exact bytes that Stripe signed.
//!
//! The id and the type stand in AMQP's own properties, and the headers hold only what
//! neither those nor the body say: each header costs the broker time for each message.
//! Releases before this one also wrote `account`, `livemode` and `api_version` into
//! headers. Nothing reads them, so such messages are understood as well.

use event::Envelope;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

/// When `ingest` received the event, in milliseconds since 1970, long.
pub const RECEIVED_AT: &str = "received_at";
/// W3C trace context of the delivery, text.
pub const TRACEPARENT: &str = "traceparent";

/// The body is what Stripe sent, which is JSON.
const CONTENT_TYPE: &str = "application/json";
/// Survives a restart of the broker.
const PERSISTENT: u8 = 2;

/// The properties of the message of an event that was received at
/// `received_at_millis` (since 1970).
#[must_use]
pub fn properties(
    envelope: &Envelope<'_>,
    received_at_millis: i64,
    traceparent: Option<&str>,
) -> BasicProperties {
    let mut headers = FieldTable::default();
    let received_at = AMQPValue::LongLongInt(received_at_millis);
    headers.insert(RECEIVED_AT.into(), received_at);
    if let Some(traceparent) = traceparent {
        let traceparent = AMQPValue::LongString(traceparent.into());
        headers.insert(TRACEPARENT.into(), traceparent);
    }
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type(CONTENT_TYPE.into())
        .with_message_id(envelope.id.as_ref().into())
        .with_type(envelope.event_type.as_ref().into())
        .with_headers(headers);
    // AMQP's timestamp is in seconds and cannot say "before 1970".
    match u64::try_from(received_at_millis / 1000) {
        Ok(seconds) => properties.with_timestamp(seconds),
        Err(_) => properties,
    }
}

/// What the properties of a received message say. Everything may be missing:
/// others can publish to the exchange as well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    /// The event's id (`message_id`).
    pub event_id: Option<String>,
    /// The event's type (`type`).
    pub event_type: Option<String>,
    /// [`RECEIVED_AT`].
    pub received_at_millis: Option<i64>,
    /// [`TRACEPARENT`].
    pub traceparent: Option<String>,
}

impl Meta {
    /// Reads what is there; a header of another type reads as absent.
    #[must_use]
    pub fn read(properties: &BasicProperties) -> Self {
        let none = FieldTable::default();
        let headers = properties.headers().as_ref().unwrap_or(&none).inner();
        let text = |name: &str| match headers.get(name)? {
            AMQPValue::LongString(value) => std::str::from_utf8(value.as_bytes())
                .ok()
                .map(str::to_owned),
            AMQPValue::ShortString(value) => Some(value.to_string()),
            _ => None,
        };
        let received_at_millis = match headers.get(RECEIVED_AT) {
            Some(AMQPValue::LongLongInt(millis)) => Some(*millis),
            // Clients that republish may choose the shorter encoding.
            Some(AMQPValue::LongInt(millis)) => Some(i64::from(*millis)),
            _ => None,
        };
        Self {
            event_id: properties.message_id().as_ref().map(ToString::to_string),
            event_type: properties.kind().as_ref().map(ToString::to_string),
            received_at_millis,
            traceparent: text(TRACEPARENT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Meta, properties};
    use event::Envelope;
    use lapin::BasicProperties;

    #[test]
    fn what_is_written_is_read_back() {
        let body = br#"{"id":"evt_1","object":"event","type":"invoice.paid","livemode":true,
            "account":"acct_1","api_version":"2020-08-27"}"#;
        let envelope = Envelope::read(body).unwrap();
        let written = properties(&envelope, 1_760_000_000_123, Some("00-ab-cd-01"));
        assert_eq!(written.delivery_mode(), &Some(2));
        assert_eq!(written.timestamp(), &Some(1_760_000_000));
        let content_type = written.content_type().as_ref().map(ToString::to_string);
        assert_eq!(content_type.as_deref(), Some("application/json"));
        let expected = Meta {
            event_id: Some("evt_1".into()),
            event_type: Some("invoice.paid".into()),
            received_at_millis: Some(1_760_000_000_123),
            traceparent: Some("00-ab-cd-01".into()),
        };
        assert_eq!(Meta::read(&written), expected);
        // What the body says is not said again.
        assert_eq!(written.headers().as_ref().unwrap().inner().len(), 2);
    }

    #[test]
    fn a_trace_that_is_absent_makes_no_header() {
        let body = br#"{"id":"evt_1","object":"event","type":"x"}"#;
        let written = properties(&Envelope::read(body).unwrap(), 1, None);
        assert_eq!(written.headers().as_ref().unwrap().inner().len(), 1);
        assert_eq!(Meta::read(&BasicProperties::default()), Meta::default());
    }
}
