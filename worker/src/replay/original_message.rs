//! The message of an event as ingest first published it.

use event::Envelope;
use lapin::BasicProperties;
use shared::message;
use store::event_query::Row;

/// The properties of the event, as ingest made them; `None` if these are not its bytes.
pub fn properties(row: &Row, body: &[u8]) -> Option<BasicProperties> {
    let envelope = Envelope::read(body).ok()?;
    let received = row.received_at.unwrap_or(row.first_seen_at);
    // The id of the span within the trace is not kept; any but zero is valid.
    let trace = row.trace_id.as_ref();
    let parent = trace.map(|trace| format!("00-{trace}-0000000000000001-01"));
    let millis = received.timestamp_millis();
    Some(message::properties(&envelope, millis, parent.as_deref()))
}
