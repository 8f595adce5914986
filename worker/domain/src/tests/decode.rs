//! What an event says about itself and about its object.

use serde_json::{json, value::to_raw_value};

use super::{account_updated, event, invoice, invoice_object, session, session_object};
use crate::{decode, event::Event, ids::ObjectId};

#[test]
fn an_event_says_whether_it_is_ignored_and_which_object_it_is_about() {
    let described = |event: &Event| {
        let claimed = event.claim().map(|(object, _)| object);
        (
            event.is_ignored(),
            claimed,
            event.object_id().map(str::to_owned),
        )
    };
    let charge = json!({ "id": "ch_1", "object": "charge" });
    for (event, claimed, id) in [
        (
            invoice("evt_1", "acct_a", None, 0),
            Some(invoice_object("in_1")),
            "in_1",
        ),
        (
            session("evt_2", "acct_a", 0),
            Some(session_object("cs_1")),
            "cs_1",
        ),
        (account_updated("evt_3", "acct_a", 0), None, "acct_a"),
    ] {
        assert_eq!(claimed.as_ref().map_or(id, ObjectId::as_str), id);
        assert_eq!(described(&event), (false, claimed, Some(id.to_owned())));
    }
    let unhandled = event("evt_4", "charge.succeeded", "acct_a", 0, charge);
    assert_eq!(described(&unhandled), (true, None, None));
}

#[test]
fn an_empty_booking_id_names_no_booking() {
    let metadata = to_raw_value(&json!({ "bookingId": "" })).unwrap();
    assert_eq!(decode::booking(Some(&metadata), "bookingId"), Ok(None));
}
