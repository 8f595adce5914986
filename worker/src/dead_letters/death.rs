//! What is recorded of a dead letter: of an event that the worker cannot apply, and of a
//! message that the broker gave up. Pure.

use chrono::{DateTime, Utc};
use domain::{
    decode::{moment, moment_of_millis, time},
    rejection::Rejection,
};
use event::Envelope;
use lapin::{
    BasicProperties,
    message::Delivery as Message,
    types::{AMQPValue, FieldTable},
};
use sha2::{Digest, Sha256};
use store::{
    dead_letter::{EnvelopeColumns, NewDeadLetter, Origin},
    event_query,
};

use crate::{
    amqp::{headers, properties_json},
    replay::original_message,
};

/// The longest reason that is kept, in bytes.
const MAX_REASON: usize = 255;

/// Why and when a message died.
#[derive(Debug, PartialEq, Eq)]
struct Death {
    reason: String,
    detail: String,
    origin: Origin,
    key: String,
    at: DateTime<Utc>,
}

/// A message that died, as it was delivered.
#[derive(Clone, Copy, Debug)]
pub struct Dead<'a> {
    /// Its bytes.
    pub body: &'a [u8],
    /// The routing key that it was published with.
    pub routing_key: &'a str,
    /// Its properties.
    pub properties: &'a BasicProperties,
    /// Whether its bytes may be read: else the reader may be what they kill.
    pub is_readable: bool,
}

impl Death {
    /// The worker cannot apply the event.
    fn by_decision(why: &Rejection, now: DateTime<Utc>) -> Self {
        Self {
            reason: why.code().to_owned(),
            detail: why.to_string(),
            origin: Origin::Worker,
            key: decision_key(now),
            at: now,
        }
    }
}

/// The dead letter of an event that the worker cannot apply.
pub fn of_event(dead: Dead<'_>, why: &Rejection, now: DateTime<Utc>) -> NewDeadLetter {
    new_dead_letter(dead, Death::by_decision(why, now))
}

/// The dead letter of a message that reached the dead-letter queue. `now` is the time of
/// a death that says no time.
pub fn of_message(message: &Message, now: DateTime<Utc>) -> NewDeadLetter {
    let dead = Dead {
        body: &message.data,
        routing_key: message.routing_key.as_str(),
        properties: &message.properties,
        is_readable: true,
    };
    new_dead_letter(dead, death(&message.properties, now))
}

/// The dead letter of an event that was applied before, out of its archived bytes; `None`
/// if these are not the bytes of an event.
pub fn of_archived(
    row: &event_query::Row,
    body: &[u8],
    why: &Rejection,
    now: DateTime<Utc>,
) -> Option<NewDeadLetter> {
    let properties = original_message::properties(row, body)?;
    let dead = Dead {
        body,
        routing_key: &row.event_type,
        properties: &properties,
        is_readable: true,
    };
    Some(new_dead_letter(dead, Death::by_decision(why, now)))
}

/// Tells a decision of the worker's from another one about the same event. The word is
/// stored with every dead letter, so it stays as it is.
pub fn decision_key(at: DateTime<Utc>) -> String {
    key_of_millis(at.timestamp_millis())
}

fn key_of_millis(millis: i64) -> String {
    format!("verdict:{millis}")
}

fn new_dead_letter(dead: Dead<'_>, death: Death) -> NewDeadLetter {
    let envelope = match dead.is_readable {
        true => Envelope::read(dead.body).ok(),
        false => None,
    };
    let own_id = envelope
        .as_ref()
        .map(|envelope| envelope.id.clone().into_owned())
        .filter(|id| !id.contains('\0'));
    let message_id = dead.properties.message_id().as_ref();
    NewDeadLetter {
        id: own_id.clone().unwrap_or_else(|| id_of_bytes(dead.body)),
        event_id: own_id.or_else(|| message_id.map(|id| clean(id.as_str()))),
        envelope: envelope.as_ref().map(columns),
        routing_key: clean(dead.routing_key),
        body: dead.body.to_vec(),
        properties: properties_json::to_json(dead.properties),
        reason: death.reason,
        detail: death.detail,
        origin: death.origin,
        death_key: death.key,
        died_at: death.at,
    }
}

/// The id of bytes that do not tell one.
pub fn id_of_bytes(body: &[u8]) -> String {
    let digest = Sha256::digest(body);
    format!("sha256-{}", properties_json::hex(&digest))
}

fn columns(envelope: &Envelope<'_>) -> EnvelopeColumns {
    let created = envelope.created;
    let created = created.and_then(|at| time(at, "created").ok());
    EnvelopeColumns {
        event_type: clean(&envelope.event_type),
        account: envelope.account.as_deref().map(clean),
        api_version: envelope.api_version.as_deref().map(clean),
        livemode: envelope.livemode,
        created: created.map(moment),
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

/// The latest death of a message in the dead-letter queue: the broker's stands in
/// `x-death`, whose first entry is the newest, that of an earlier release of the worker in
/// headers of its own. Both can be there.
fn death(properties: &BasicProperties, now: DateTime<Utc>) -> Death {
    let none = FieldTable::default();
    let headers = properties.headers().as_ref().unwrap_or(&none);
    match (by_worker(headers), by_broker(headers, now)) {
        (Some(worker), Some(broker)) if broker.at > worker.at => broker,
        (Some(worker), _) => worker,
        (None, Some(broker)) => broker,
        (None, None) => Death {
            reason: "unknown".into(),
            detail: "It reached the dead letters without a reason; somebody published it there."
                .into(),
            origin: Origin::Broker,
            key: "unknown".into(),
            at: now,
        },
    }
}

fn by_worker(headers: &FieldTable) -> Option<Death> {
    let text = |name| {
        headers
            .inner()
            .get(name)
            .and_then(text_of)
            .map(|text| clean(&text))
    };
    let millis = match headers.inner().get(headers::DEAD_AT) {
        Some(AMQPValue::LongLongInt(millis)) => *millis,
        _ => 0,
    };
    Some(Death {
        reason: short(&text(headers::DEAD_REASON)?),
        detail: text(headers::DEAD_DETAIL).unwrap_or_default(),
        origin: Origin::Worker,
        key: key_of_millis(millis),
        at: moment_of_millis(millis).unwrap_or_default(),
    })
}

fn by_broker(headers: &FieldTable, now: DateTime<Utc>) -> Option<Death> {
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
            .and_then(|seconds| time(seconds, "time").ok())
            .map(moment),
        _ => None,
    };
    let count = match newest.and_then(|death| death.get("count")) {
        Some(AMQPValue::LongLongInt(count)) => *count,
        _ => 0,
    };
    let (detail, origin) = match reason.as_str() {
        "delivery_limit" => (
            "It came back to the queue more often than the queue's delivery limit allows.",
            Origin::DeliveryLimit,
        ),
        "rejected" => ("A consumer rejected it.", Origin::Broker),
        "expired" => (
            "It was older than the queue or the message allows.",
            Origin::Broker,
        ),
        "maxlen" => ("The queue was longer than it may be.", Origin::Broker),
        _ => ("The broker gave it up.", Origin::Broker),
    };
    let seconds = at.map_or(0, |at| at.timestamp());
    Some(Death {
        key: format!("{reason}:{count}:{seconds}"),
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
