//! What a row of the ledger and a dead letter hold.

use domain::{
    decode::{moment, moment_of_millis},
    ids::BookingId,
    outcome::Outcome,
};
use harness::stripe::SAMPLE_TIME;
use shared::message;
use store::{dead_letter::Origin, event::DeliverySource};
use worker::{amqp::properties_json, pipeline::storage::BatchChanges};

use super::recorder::{NOW, Recorder, delivery_with, handled, now, replayed, unreadable};
use crate::support::delivery;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const RECEIVED_MILLIS: i64 = 1_760_000_000_123;

#[tokio::test]
async fn a_row_of_the_ledger_has_what_its_event_and_its_delivery_say() {
    let first = handled("evt_1");
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let envelope = event::Envelope::read(&first).unwrap();
    let properties = message::properties(&envelope, RECEIVED_MILLIS, Some(&parent));
    let deliveries = [
        delivery_with(&first, properties),
        replayed(&unreadable("evt_2"), "item_1"),
        delivery(b"no event"),
    ];
    let recorder = Recorder {
        check: Some(check_rows),
        ..Recorder::default()
    };
    let (decisions, saved) = recorder.take(&deliveries).await;
    assert_eq!(decisions, ["applied", "dead", "dead"]);
    let lines = ["evt_1 applied -", "evt_2 dead unreadable_object"];
    assert_eq!(saved.ledger, lines);
}

fn check_rows(changes: &BatchChanges<'_>) {
    let [first, second] = changes.ledger.as_slice() else {
        panic!("{:?}", changes.ledger);
    };
    assert_eq!((first.id, first.event_type), ("evt_1", "invoice.paid"));
    assert_eq!(first.account, Some("acct_a"));
    assert!(first.api_version.is_some());
    assert_eq!(first.livemode, Some(false));
    assert_eq!(first.created, moment(SAMPLE_TIME));
    assert_eq!(first.object_id, Some("in_1Sample"));
    assert_eq!(first.booking, Some(BookingId(1)));
    assert_eq!(first.outcome, Outcome::Applied);
    assert_eq!(first.received_at, moment_of_millis(RECEIVED_MILLIS));
    assert_eq!(first.trace_id, Some(TRACE));
    assert_eq!(first.source, DeliverySource::Webhook);
    assert_eq!(changes.archive.len(), 1);
    assert_eq!(first.archive_page, Some(changes.archive[0].id));

    assert_eq!((second.object_id, second.booking), (None, None));
    assert_eq!(second.source, DeliverySource::Replay);
    assert_eq!((second.archive_page, second.trace_id), (None, None));
}

#[tokio::test]
async fn a_dead_letter_has_the_bytes_and_the_reason_of_its_event() {
    let body = unreadable("evt_1");
    let deliveries = [
        replayed(&body, "item_1"),
        delivery(b"no event"),
        delivery(&handled("evt_2")),
    ];
    let recorder = Recorder::default().with_owner("acct_b");
    let (decisions, saved) = recorder.take(&deliveries).await;
    assert_eq!(decisions, ["dead"; 3]);
    let [unreadable, foreign, none] = saved.dead_letters.as_slice() else {
        panic!("{:?}", saved.dead_letters);
    };
    assert_eq!((unreadable.id.as_str(), &unreadable.body), ("evt_1", &body));
    assert_eq!(unreadable.event_id.as_deref(), Some("evt_1"));
    assert_eq!(unreadable.routing_key, "invoice.paid");
    let properties = properties_json::to_json(&deliveries[0].properties);
    assert_eq!(unreadable.properties, properties);
    assert_eq!(unreadable.reason, "unreadable_object");
    assert!(unreadable.detail.starts_with("data.object is not"));
    assert_eq!(unreadable.origin, Origin::Worker);
    assert_eq!(unreadable.death_key, format!("verdict:{NOW}000"));
    assert_eq!(unreadable.died_at, now());
    let envelope = unreadable.envelope.as_ref().unwrap();
    assert_eq!(envelope.event_type, "invoice.paid");
    assert_eq!(envelope.account.as_deref(), Some("acct_a"));
    assert_eq!(envelope.livemode, Some(false));
    assert_eq!(envelope.created, Some(moment(SAMPLE_TIME)));
    assert!(envelope.api_version.is_some());

    assert_eq!(foreign.id, "evt_2");
    assert_eq!(foreign.reason, "booking_claimed_by_other_account");
    // Without an id its bytes tell it from others.
    assert_eq!(none.id.len(), "sha256-".len() + 64);
    assert!(none.id.starts_with("sha256-") && none.event_id.is_none());
    assert!(none.envelope.is_none());
    assert_eq!(none.reason, "unreadable_event");
}
