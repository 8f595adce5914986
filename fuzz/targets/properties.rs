//! The properties of a message, from the bytes on the wire: what the worker
//! reads of them, and whether it can write them down and send them again.
#![no_main]

use domain::decode::moment;
use fuzz::storable;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::protocol::basic::parse_properties;
use libfuzzer_sys::{Corpus, fuzz_target};
use shared::message::Meta;
use store::replay_item::ReplayItemKey;
use worker::amqp::headers::{add_replay_headers, replay_item};
use worker::amqp::properties_json::{from_json, headers_for_people, to_json};
use worker::dead_letters::death;
use worker::pipeline::delivery::DeliveryMetadata;

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok((_, properties)) = parse_properties(input) else {
        return Corpus::Reject;
    };
    let json = to_json(&properties);
    storable::json(&json);
    assert_eq!(to_json(&from_json(&json)), json, "something was lost");
    headers_for_people(&json);

    let meta = Meta::read(&properties);
    assert_eq!(meta.event_id.is_some(), properties.message_id().is_some());
    let metadata = DeliveryMetadata::read(&properties);
    metadata.received_at.into_iter().for_each(storable::time);
    metadata
        .trace_id
        .iter()
        .for_each(|text| storable::text(text, 255));
    if let Some(replay) = &metadata.replay {
        storable::text(&replay.item, 255);
    }
    replay(properties.clone());
    die(properties);
    Corpus::Keep
});

/// The item of a replay is read back, and a second one replaces the first.
fn replay(properties: BasicProperties) {
    let item = |run| ReplayItemKey {
        run,
        item: "evt_1".into(),
    };
    let once = add_replay_headers(properties, &item(1), "somebody");
    assert_eq!(replay_item(&once), Some(item(1)));
    let twice = add_replay_headers(once, &item(i64::MAX), "somebody");
    assert_eq!(replay_item(&twice), Some(item(i64::MAX)));
}

/// Whatever died can be written down.
fn die(properties: BasicProperties) {
    let mut delivery = Delivery::mock(
        1,
        "stripe.dead".into(),
        "invoice.paid".into(),
        false,
        b"no event".to_vec(),
    );
    delivery.properties = properties;
    let now = moment(2_000_000_000);
    let letter = death::of_message(&delivery, now);
    assert_eq!(letter.body, delivery.data);
    storable::json(&letter.properties);
    storable::time(letter.died_at);
    storable::text(&letter.reason, 255);
    storable::text(&letter.detail, 8192);
    storable::text(&letter.death_key, 512);
    letter
        .event_id
        .iter()
        .for_each(|id| storable::text(id, 255 * 3));
}
