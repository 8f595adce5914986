//! The properties of a message, from the bytes on the wire: what the worker
//! reads of them, and whether it can write them down and send them again.
#![no_main]

use fuzz::storable;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::protocol::basic::parse_properties;
use libfuzzer_sys::{Corpus, fuzz_target};
use shared::message::Meta;
use worker::burial::grave;
use worker::properties::{from_json, headers_for_people, to_json};
use worker::store::replay::Ticket;
use worker::{events::fields::moment, origin::Origin, ticket};

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
    let origin = Origin::read(&properties);
    origin.received_at.into_iter().for_each(storable::time);
    origin
        .trace_id
        .iter()
        .for_each(|text| storable::text(text, 255));
    if let Some(ticket) = &origin.ticket {
        storable::text(&ticket.item, 255);
    }
    stamp(properties.clone());
    bury(properties);
    Corpus::Keep
});

/// A ticket is read back, and a second one replaces the first.
fn stamp(properties: BasicProperties) {
    let ticket = |run| Ticket {
        run,
        item: "evt_1".into(),
    };
    let once = ticket::stamp(properties, &ticket(1), "somebody");
    assert_eq!(ticket::read(&once), Some(ticket(1)));
    let twice = ticket::stamp(once, &ticket(i64::MAX), "somebody");
    assert_eq!(ticket::read(&twice), Some(ticket(i64::MAX)));
}

/// Whatever died can be written down.
fn bury(properties: BasicProperties) {
    let mut delivery = Delivery::mock(
        1,
        "stripe.dead".into(),
        "invoice.paid".into(),
        false,
        b"no event".to_vec(),
    );
    delivery.properties = properties;
    let now = moment(2_000_000_000);
    let grave = grave::read(&delivery, now);
    assert_eq!(grave.body, delivery.data);
    storable::time(grave.died_at);
    storable::text(&grave.reason, 255);
    storable::text(&grave.detail, 8192);
    storable::text(&grave.mark, 512);
    grave
        .event_id
        .iter()
        .for_each(|id| storable::text(id, 255 * 3));
}
