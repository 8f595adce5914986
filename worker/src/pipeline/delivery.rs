//! A delivery, decoded, and what its message's properties say of its way here. Pure.
//!
//! Others can publish to the exchange as well. A property that Postgres could not keep,
//! or that has another type, reads as absent: nothing that only stands beside an event
//! may hold the event up.

use std::panic::{self, AssertUnwindSafe};

use chrono::{DateTime, Utc};
use domain::{
    decode::moment_of_millis,
    event::{Event, Rejected},
    header::Header,
    rules::Rules,
};
use event::Envelope;
use lapin::{BasicProperties, message::Delivery as Message, types::ShortString};
use shared::message::{self, Meta};
use store::replay_item::ReplayItemKey;

use crate::amqp::headers;

/// The digits of a W3C trace id.
const TRACE_ID: usize = 32;

/// A delivery that came back to the queue so often may be what its workers died of. Twice is
/// what a restart and a lost connection come to for any event; more would let an event that
/// kills have that many workers.
const SUSPECT_AFTER: i64 = 3;

/// Whether a message has to be handled apart, because it may be what its workers died of.
pub fn is_suspect(message: &Message) -> bool {
    headers::deliveries_before(&message.properties) >= SUSPECT_AFTER
}

/// A delivery of the queue, decoded.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The tag by which it is acked.
    pub tag: u64,
    /// The routing key that it was published with.
    pub routing_key: ShortString,
    /// Its properties.
    pub properties: BasicProperties,
    /// What its properties say of its way here.
    pub metadata: DeliveryMetadata,
    /// The event, or why it cannot be decoded.
    pub decoded: Result<Event, Rejected>,
    /// Its exact bytes.
    pub body: Vec<u8>,
}

/// A message whose decoding panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crashed {
    /// The tag by which it is returned to the queue.
    pub tag: u64,
    /// The event's id, as its properties say it.
    pub message_id: Option<ShortString>,
}

/// What the properties of a message say of its way here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryMetadata {
    /// When ingest received the event.
    pub received_at: Option<DateTime<Utc>>,
    /// The W3C trace id of its delivery by Stripe.
    pub trace_id: Option<String>,
    /// The item of the operator's replay that sent it, where one did.
    pub replay: Option<ReplayItemKey>,
}

/// How deliveries are decoded.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// What decoding depends on.
    pub rules: Rules,
    /// The function: [`decode`](domain::event::decode), or one that a test wants to see
    /// panic.
    pub decode: fn(&[u8], &Rules) -> Result<Event, Rejected>,
}

impl Decoder {
    /// Decodes the bytes of an event; `None` where that panics.
    pub(super) fn decode(&self, body: &[u8]) -> Option<Result<Event, Rejected>> {
        let decode = AssertUnwindSafe(|| (self.decode)(body, &self.rules));
        panic::catch_unwind(decode).ok()
    }

    /// The event of these bytes as a delivery that came from no queue, and is never acked.
    pub(crate) fn unqueued(&self, body: &[u8]) -> Delivery {
        let envelope = Envelope::read(body).ok();
        let properties = |envelope: &Envelope<'_>| {
            let received = envelope.created.unwrap_or_default().saturating_mul(1000);
            message::properties(envelope, received, None)
        };
        let kind = envelope
            .as_ref()
            .map(|it| ShortString::from(&*it.event_type));
        Delivery {
            tag: 0,
            routing_key: kind.unwrap_or_default(),
            properties: envelope.as_ref().map(properties).unwrap_or_default(),
            metadata: DeliveryMetadata::default(),
            decoded: (self.decode)(body, &self.rules),
            body: body.to_vec(),
        }
    }

    /// Decodes one message.
    ///
    /// # Errors
    /// [`Crashed`] where decoding panics.
    pub fn delivery(&self, message: Message) -> Result<Delivery, Crashed> {
        let Some(decoded) = self.decode(&message.data) else {
            return Err(Crashed {
                tag: message.delivery_tag,
                message_id: message.properties.message_id().clone(),
            });
        };
        Ok(Delivery {
            tag: message.delivery_tag,
            metadata: DeliveryMetadata::read(&message.properties),
            routing_key: message.routing_key,
            properties: message.properties,
            decoded,
            body: message.data,
        })
    }
}

impl Delivery {
    /// The delivery of a message that is kept, because it may be tried again.
    pub(super) fn of(message: &Message, decoded: Result<Event, Rejected>) -> Self {
        Self {
            tag: message.delivery_tag,
            metadata: DeliveryMetadata::read(&message.properties),
            routing_key: message.routing_key.clone(),
            properties: message.properties.clone(),
            decoded,
            body: message.data.clone(),
        }
    }

    /// The event's fields outside `data`, where they could be decoded.
    pub fn header(&self) -> Option<&Header> {
        match &self.decoded {
            Ok(event) => Some(&event.header),
            Err(rejected) => rejected.header.as_deref(),
        }
    }

    /// The event's id, where it could be decoded.
    pub fn event_id(&self) -> Option<&str> {
        self.header().map(|header| header.id.as_str())
    }
}

impl DeliveryMetadata {
    /// Reads what is there.
    pub fn read(properties: &BasicProperties) -> Self {
        let meta = Meta::read(properties);
        Self {
            received_at: meta.received_at_millis.and_then(moment_of_millis),
            trace_id: meta.traceparent.as_deref().and_then(trace_id),
            replay: headers::replay_item(properties),
        }
    }
}

/// The trace id of a W3C `traceparent`.
fn trace_id(traceparent: &str) -> Option<String> {
    let id = traceparent.split('-').nth(1)?;
    let is_one = id.len() == TRACE_ID && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::types::{AMQPValue, FieldTable};
    use shared::message::{RECEIVED_AT, TRACEPARENT};

    fn with(received_at: i64, traceparent: &str) -> DeliveryMetadata {
        let mut headers = FieldTable::default();
        headers.insert(RECEIVED_AT.into(), AMQPValue::LongLongInt(received_at));
        let traceparent = AMQPValue::LongString(traceparent.into());
        headers.insert(TRACEPARENT.into(), traceparent);
        DeliveryMetadata::read(&BasicProperties::default().with_headers(headers))
    }

    #[test]
    fn what_ingest_wrote_is_read() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let metadata = with(
            1_760_000_000_123,
            &format!("00-{trace}-b7ad6b7169203331-01"),
        );
        assert_eq!(
            metadata.received_at.unwrap().timestamp_millis(),
            1_760_000_000_123
        );
        assert_eq!(metadata.trace_id.as_deref(), Some(trace));
        assert_eq!(
            DeliveryMetadata::read(&BasicProperties::default()),
            DeliveryMetadata::default()
        );
    }

    #[test]
    fn a_message_that_came_back_thrice_is_a_suspect() {
        let came_back = |name: &str, times: AMQPValue| {
            let mut message = Message::mock(1, "x".into(), "y".into(), true, Vec::new());
            let mut headers = FieldTable::default();
            headers.insert(name.into(), times);
            message.properties = BasicProperties::default().with_headers(headers);
            is_suspect(&message)
        };
        for name in ["x-delivery-count", "x-acquired-count"] {
            assert!(came_back(name, AMQPValue::LongLongInt(3)));
            assert!(came_back(name, AMQPValue::LongUInt(3)));
            assert!(came_back(name, AMQPValue::ShortShortUInt(3)));
            assert!(came_back(name, AMQPValue::LongLongInt(i64::MAX)));
            for few in [i64::MIN, 0, 2] {
                assert!(!came_back(name, AMQPValue::LongLongInt(few)));
            }
            assert!(!came_back(name, AMQPValue::LongString("9".into())));
        }
        assert!(!came_back("x-death-count", AMQPValue::LongLongInt(9)));
        let first = Message::mock(1, "x".into(), "y".into(), true, Vec::new());
        assert!(!is_suspect(&first));
    }

    #[test]
    fn what_the_ledger_could_not_keep_reads_as_absent() {
        for millis in [
            i64::MIN,
            -1,
            -210_866_803_200_001,
            253_402_300_800_000,
            i64::MAX,
        ] {
            assert_eq!(with(millis, "").received_at, None, "{millis}");
        }
        for millis in [0, 253_402_300_799_999] {
            assert!(with(millis, "").received_at.is_some(), "{millis}");
        }
        let nul = format!("00-{}-1", "\0".repeat(32));
        let long = format!("00-{}-1", "a".repeat(33));
        for parent in [
            "",
            "00",
            "00--",
            &nul,
            &long,
            "00-0af7651916cd43dd8448eb211c80319g-1",
        ] {
            assert_eq!(with(0, parent).trace_id, None, "{parent:?}");
        }
    }
}
