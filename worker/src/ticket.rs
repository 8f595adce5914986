//! What marks a message as a replay, so that its outcome finds its way back to
//! whoever sent it again.

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};

use crate::{properties::that_fit, store::replay::Ticket};

/// The number of the run, long.
pub const REPLAY_ID: &str = "replay_id";
/// The item of the run: the id of the dead letter or of the event, text.
pub const REPLAY_ITEM: &str = "replay_item";
/// Who sent it again, text.
pub const REPLAY_BY: &str = "replay_by";

/// Headers that dying added. A replay leaves them out: the message is then as it
/// was when it was first published.
const OF_DEATH: [&str; 9] = [
    crate::dead::REASON,
    crate::dead::DETAIL,
    crate::dead::AT,
    "x-death",
    "x-first-death-exchange",
    "x-first-death-queue",
    "x-first-death-reason",
    "x-delivery-count",
    "x-acquired-count",
];

/// The ticket of a replayed message; `None` of any other.
pub fn read(properties: &BasicProperties) -> Option<Ticket> {
    let headers = properties.headers().as_ref()?.inner();
    let run = match headers.get(REPLAY_ID)? {
        AMQPValue::LongLongInt(run) => *run,
        AMQPValue::LongInt(run) => i64::from(*run),
        _ => return None,
    };
    let AMQPValue::LongString(item) = headers.get(REPLAY_ITEM)? else {
        return None;
    };
    let item = std::str::from_utf8(item.as_bytes()).ok()?;
    let fits = !item.contains('\0');
    fits.then(|| Ticket {
        run,
        item: item.to_owned(),
    })
}

/// The properties as they were first published, with a ticket.
pub fn stamp(properties: BasicProperties, ticket: &Ticket, by: &str) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in properties.headers().iter().flatten() {
        let of_death =
            OF_DEATH.contains(&name.as_str()) || name.as_str().starts_with("x-last-death-");
        if !of_death {
            headers.insert(name.clone(), value.clone());
        }
    }
    let mut headers = that_fit(&headers);
    let text = |text: &str| AMQPValue::LongString(text.into());
    headers.insert(REPLAY_ID.into(), AMQPValue::LongLongInt(ticket.run));
    headers.insert(REPLAY_ITEM.into(), text(&ticket.item));
    headers.insert(REPLAY_BY.into(), text(by));
    properties.with_headers(headers)
}
