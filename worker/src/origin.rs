//! What a message's properties say of its way here. Pure.
//!
//! Others can publish to the exchange as well. What Postgres could not keep, or
//! what is no such thing, reads as absent: nothing that only stands beside an
//! event may hold the event up.

use chrono::{DateTime, Utc};
use lapin::BasicProperties;
use shared::message::Meta;

use crate::{events::fields, store::replay::Ticket, ticket};

/// The digits of a W3C trace id.
const TRACE_ID: usize = 32;

/// How a message came here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// When ingest received the event.
    pub received_at: Option<DateTime<Utc>>,
    /// The W3C trace id of its delivery.
    pub trace_id: Option<String>,
    /// What an operator's replay has marked it with.
    pub ticket: Option<Ticket>,
}

impl Origin {
    /// Reads what is there.
    pub fn read(properties: &BasicProperties) -> Self {
        let meta = Meta::read(properties);
        let received = meta.received_at_millis;
        Self {
            received_at: received.and_then(fields::moment_of_millis),
            trace_id: meta.traceparent.as_deref().and_then(trace_id),
            ticket: ticket::read(properties),
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

    fn with(received_at: i64, traceparent: &str) -> Origin {
        let mut headers = FieldTable::default();
        headers.insert(RECEIVED_AT.into(), AMQPValue::LongLongInt(received_at));
        let traceparent = AMQPValue::LongString(traceparent.into());
        headers.insert(TRACEPARENT.into(), traceparent);
        Origin::read(&BasicProperties::default().with_headers(headers))
    }

    #[test]
    fn what_ingest_wrote_is_read() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let origin = with(
            1_760_000_000_123,
            &format!("00-{trace}-b7ad6b7169203331-01"),
        );
        assert_eq!(
            origin.received_at.unwrap().timestamp_millis(),
            1_760_000_000_123
        );
        assert_eq!(origin.trace_id.as_deref(), Some(trace));
        assert_eq!(Origin::read(&BasicProperties::default()), Origin::default());
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
