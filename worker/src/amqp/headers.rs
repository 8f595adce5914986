//! Headers that mark a message as a replay, so that its outcome finds its way back to the
//! run that sent it, and those that a death adds.

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use store::replay_item::ReplayItemKey;

use crate::amqp::properties_json::that_fit;

/// The number of the run, long.
pub const REPLAY_ID: &str = "replay_id";
/// The item of the run: the id of the dead letter or of the event, text.
pub const REPLAY_ITEM: &str = "replay_item";
/// Who sent it again, text.
pub const REPLAY_BY: &str = "replay_by";

/// The reason's code of a dead letter that an earlier release published itself.
pub const DEAD_REASON: &str = "dead_reason";
/// Its reason in a sentence.
pub const DEAD_DETAIL: &str = "dead_detail";
/// When it died, in milliseconds since 1970, long.
pub const DEAD_AT: &str = "dead_at";

/// How often a quorum queue counted a delivery as failed.
const DELIVERY_COUNT: &str = "x-delivery-count";
/// How often RabbitMQ 4 gave a message to a consumer before.
const ACQUIRED_COUNT: &str = "x-acquired-count";

/// Headers that a death added. A replay leaves them out: the message is then as it
/// was when it was first published.
const OF_DEATH: [&str; 9] = [
    DEAD_REASON,
    DEAD_DETAIL,
    DEAD_AT,
    "x-death",
    "x-first-death-exchange",
    "x-first-death-queue",
    "x-first-death-reason",
    DELIVERY_COUNT,
    ACQUIRED_COUNT,
];

/// How often a message was delivered before and came back, as the broker counts: 0 of a
/// first delivery. RabbitMQ 4 counts a consumer that takes too long under
/// `x-acquired-count` alone.
pub fn deliveries_before(properties: &BasicProperties) -> i64 {
    let Some(headers) = properties.headers() else {
        return 0;
    };
    let count = |name| match headers.inner().get(name) {
        Some(AMQPValue::LongLongInt(count)) => *count,
        Some(AMQPValue::LongInt(count)) => i64::from(*count),
        Some(AMQPValue::LongUInt(count)) => i64::from(*count),
        Some(AMQPValue::ShortInt(count)) => i64::from(*count),
        Some(AMQPValue::ShortUInt(count)) => i64::from(*count),
        Some(AMQPValue::ShortShortInt(count)) => i64::from(*count),
        Some(AMQPValue::ShortShortUInt(count)) => i64::from(*count),
        _ => 0,
    };
    count(DELIVERY_COUNT).max(count(ACQUIRED_COUNT))
}

/// The item that a message replays; `None` of a message that replays none.
pub fn replay_item(properties: &BasicProperties) -> Option<ReplayItemKey> {
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
    fits.then(|| ReplayItemKey {
        run,
        item: item.to_owned(),
    })
}

/// The properties as they were first published, with the headers of a replay.
pub fn add_replay_headers(
    properties: BasicProperties,
    item: &ReplayItemKey,
    by: &str,
) -> BasicProperties {
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
    headers.insert(REPLAY_ID.into(), AMQPValue::LongLongInt(item.run));
    headers.insert(REPLAY_ITEM.into(), text(&item.item));
    headers.insert(REPLAY_BY.into(), text(by));
    properties.with_headers(headers)
}
