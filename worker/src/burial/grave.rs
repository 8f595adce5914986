//! What a dead message says of itself and of its death. Pure.

use chrono::{DateTime, Utc};
use event::Envelope;
use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable},
};
use sha2::{Digest, Sha256};

use crate::{
    dead,
    events::{fields, rejection::Rejection},
    properties,
    replay::first_published,
    store::{
        burial::{EnvelopeColumns, Grave},
        history,
    },
};

/// The longest reason that is kept, in bytes.
const MAX_REASON: usize = 255;

/// Why and when a message died.
#[derive(Debug, PartialEq, Eq)]
struct Death {
    reason: String,
    detail: String,
    origin: &'static str,
    mark: String,
    at: DateTime<Utc>,
}

/// A dead message as it is written down. `now` is the time of a death that says
/// no time.
pub fn read(delivery: &Delivery, now: DateTime<Utc>) -> Grave {
    let envelope = Envelope::read(&delivery.data).ok();
    let own_id = envelope
        .as_ref()
        .map(|envelope| envelope.id.clone().into_owned())
        .filter(|id| !id.contains('\0'));
    let message_id = delivery.properties.message_id().as_ref();
    let id = own_id.clone().unwrap_or_else(|| {
        format!(
            "sha256-{}",
            properties::hex(&Sha256::digest(&delivery.data))
        )
    });
    let death = death(&delivery.properties, now);
    Grave {
        id,
        event_id: own_id.or_else(|| message_id.map(|id| clean(id.as_str()))),
        envelope: envelope.as_ref().map(columns),
        routing_key: clean(delivery.routing_key.as_str()),
        body: delivery.data.clone(),
        properties: properties::to_json(&delivery.properties),
        reason: death.reason,
        detail: death.detail,
        origin: death.origin,
        mark: death.mark,
        died_at: death.at,
    }
}

/// A dead letter of an event that was applied before, out of its kept bytes;
/// `None` if these are not the bytes of an event.
pub fn of_applied(
    row: &history::Row,
    body: Vec<u8>,
    why: &Rejection,
    now: DateTime<Utc>,
) -> Option<Grave> {
    let envelope = columns(&Envelope::read(&body).ok()?);
    Some(Grave {
        id: row.id.clone(),
        event_id: Some(row.id.clone()),
        routing_key: row.event_type.clone(),
        properties: properties::to_json(&first_published(row, &body)?),
        envelope: Some(envelope),
        body,
        reason: why.code().to_owned(),
        detail: why.to_string(),
        origin: "worker",
        mark: verdict_mark(now.timestamp_millis()),
        died_at: now,
    })
}

/// Tells a verdict of ours from another one of the same event.
pub fn verdict_mark(millis: i64) -> String {
    format!("verdict:{millis}")
}

fn columns(envelope: &Envelope<'_>) -> EnvelopeColumns {
    let created = envelope.created;
    let created = created.and_then(|at| fields::time(at, "created").ok());
    EnvelopeColumns {
        event_type: clean(&envelope.event_type),
        account: envelope.account.as_deref().map(clean),
        api_version: envelope.api_version.as_deref().map(clean),
        livemode: envelope.livemode,
        created: created.map(fields::moment),
    }
}

/// The text without NUL, which Postgres cannot keep. The bytes keep it.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// As much of a reason as an index of Postgres surely takes. Ours and the
/// broker's are short; others can publish to the dead letters as well.
fn short(reason: &str) -> String {
    let reason = clean(reason);
    reason[..reason.floor_char_boundary(MAX_REASON)].to_owned()
}

/// The latest death: our verdict stands in headers of ours, the broker's in
/// `x-death`, whose first entry is the newest. Both can be there.
fn death(properties: &BasicProperties, now: DateTime<Utc>) -> Death {
    let none = FieldTable::default();
    let headers = properties.headers().as_ref().unwrap_or(&none);
    match (verdict(headers), broker(headers, now)) {
        (Some(verdict), Some(broker)) if broker.at > verdict.at => broker,
        (Some(verdict), _) => verdict,
        (None, Some(broker)) => broker,
        (None, None) => Death {
            reason: "unknown".into(),
            detail: "It reached the dead letters without a reason; somebody published it there."
                .into(),
            origin: "broker",
            mark: "unknown".into(),
            at: now,
        },
    }
}

fn verdict(headers: &FieldTable) -> Option<Death> {
    let text = |name| {
        headers
            .inner()
            .get(name)
            .and_then(text_of)
            .map(|text| clean(&text))
    };
    let millis = match headers.inner().get(dead::AT) {
        Some(AMQPValue::LongLongInt(millis)) => *millis,
        _ => 0,
    };
    Some(Death {
        reason: short(&text(dead::REASON)?),
        detail: text(dead::DETAIL).unwrap_or_default(),
        origin: "worker",
        mark: verdict_mark(millis),
        at: fields::moment_of_millis(millis).unwrap_or_default(),
    })
}

fn broker(headers: &FieldTable, now: DateTime<Utc>) -> Option<Death> {
    let headers = headers.inner();
    let newest = match headers.get("x-death") {
        Some(AMQPValue::FieldArray(deaths)) => deaths.as_slice().first(),
        _ => None,
    };
    let newest = match newest {
        Some(AMQPValue::FieldTable(death)) => Some(death.inner()),
        _ => None,
    };
    // RabbitMQ 4 says the newest reason beside x-death as well, 3.10 the first.
    let named = ["x-last-death-reason", "x-first-death-reason"];
    let reason = newest
        .and_then(|death| death.get("reason"))
        .or_else(|| named.iter().find_map(|name| headers.get(*name)))
        .and_then(text_of)
        .map(|reason| short(&reason))?;
    let at = match newest.and_then(|death| death.get("time")) {
        Some(AMQPValue::Timestamp(seconds)) => i64::try_from(*seconds)
            .ok()
            .and_then(|seconds| fields::time(seconds, "time").ok())
            .map(fields::moment),
        _ => None,
    };
    let count = match newest.and_then(|death| death.get("count")) {
        Some(AMQPValue::LongLongInt(count)) => *count,
        _ => 0,
    };
    let (detail, origin) = match reason.as_str() {
        "delivery_limit" => (
            "Its handler crashed each time, until the queue's delivery limit.",
            "delivery_limit",
        ),
        "rejected" => ("A consumer rejected it.", "broker"),
        "expired" => (
            "It was older than the queue or the message allows.",
            "broker",
        ),
        "maxlen" => ("The queue was longer than it may be.", "broker"),
        _ => ("The broker gave it up.", "broker"),
    };
    let time = at.map_or(0, |at| at.timestamp());
    Some(Death {
        mark: format!("{reason}:{count}:{time}"),
        detail: detail.into(),
        origin,
        at: at.unwrap_or(now),
        reason,
    })
}

fn text_of(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
