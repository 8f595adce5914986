//! What a batch has to save.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    BOOKING, Memory, account_updated, event, invoice, invoice_object, merged_with, owned_by,
    recheck, session, session_object, source,
};
use crate::{
    by_claim::ByClaim,
    event::Event,
    ids::{AccountId, BookingId},
    invoice::Invoice,
    ownership::{Owner, Owners},
    source::Recheck,
    working_set::WorkingSet,
};

/// A line for each row that has to be saved.
fn lines(set: &WorkingSet, rewrite: &[&str]) -> Vec<String> {
    let projection = set.project();
    let rewrite: Vec<AccountId> = rewrite.iter().map(|id| AccountId::from(*id)).collect();
    let changes = set.changes(&projection, &rewrite.iter().collect::<BTreeSet<_>>());
    let mut lines = Vec::new();
    for one in &changes.invoices {
        assert_eq!(one.by_claim, &set.invoices.get(one.id).unwrap().by_claim);
        let waiting = one
            .projection
            .stored
            .waiting
            .map_or("-", |why| why.as_str());
        lines.push(format!("invoice {} {waiting}", one.id));
    }
    for one in &changes.checkout_sessions {
        let known = set.checkout_sessions.get(one.id).unwrap();
        assert_eq!(one.by_claim, &known.by_claim);
        lines.push(format!("session {} {}", one.id, one.is_undecided));
    }
    for one in &changes.claims {
        assert_eq!(one.key.1, BOOKING);
        let (object, account) = (one.object.as_str(), &one.key.0);
        let event = &one.claim.first.event_id;
        assert!(one.claim.is_active);
        lines.push(format!("claim {object} {account} {event}"));
    }
    for (id, account) in &changes.accounts {
        assert_eq!(Some(*account), set.accounts.get(id));
        lines.push(format!("account {id}"));
    }
    lines.extend(
        changes
            .app
            .hosts
            .iter()
            .map(|one| format!("host {}", one.account)),
    );
    let rows = &changes.app;
    let invoice_rows = set.invoice_row_changes(&projection);
    assert_eq!(rows.insert, invoice_rows.insert);
    lines.extend(
        rows.insert
            .iter()
            .map(|one| format!("row {}", one.booking_id)),
    );
    lines
}

/// What a batch of these events has to save. The source keeps it, as a commit does.
fn saved(source: &mut Memory, events: &[Event], recheck: &Recheck) -> Vec<String> {
    let set = merged_with(source, events, recheck);
    let saved = lines(&set, &[]);
    source.store(&set);
    let projection = set.project();
    for (id, one) in &projection.invoices {
        let stored = source.invoices.get_mut(*id).unwrap();
        stored.projection = Some(one.stored.clone());
    }
    for session in source.checkout_sessions.values_mut() {
        session.is_undecided = session.by_claim.is_undecided(&projection.holders.owners);
    }
    saved
}

fn of_each_object() -> [Event; 3] {
    [
        invoice("evt_1", "acct_a", Some("7"), 0),
        session("evt_2", "acct_a", 1),
        account_updated("evt_3", "acct_a", 2),
    ]
}

#[test]
fn what_events_change_is_saved_once() {
    let (mut source, events) = (source(None), of_each_object());
    let all = [
        "invoice in_1 -",
        "session cs_1 false",
        "claim in_1 acct_a evt_1",
        "claim cs_1 acct_a evt_2",
        "account acct_a",
        "host acct_a",
        "row 7",
    ];
    assert_eq!(saved(&mut source, &events, &Recheck::default()), all);
    let set = merged_with(&source, &events, &Recheck::default());
    // The source does not keep the main app's rows.
    assert_eq!(lines(&set, &[]), ["row 7"]);
    // An account is written anew where its event is decided again, and no other is.
    let rewritten = lines(&set, &["acct_a"]);
    assert_eq!(rewritten, ["account acct_a", "host acct_a", "row 7"]);
    assert_eq!(lines(&set, &["acct_b"]), ["row 7"]);
}

#[test]
fn an_object_is_saved_where_its_values_or_its_place_changed() {
    let mut source = source(Some(Owner::Unknown));
    let none = Recheck::default();
    let of_objects = |saved: Vec<String>| {
        let objects = saved.into_iter();
        let objects = objects.filter(|line| !line.starts_with("row") && !line.starts_with("claim"));
        objects.collect::<Vec<_>>()
    };
    let [named, linked, _] = of_each_object();
    let first = of_objects(saved(&mut source, &[named, linked], &none));
    assert_eq!(first, ["invoice in_1 owner_unknown", "session cs_1 true"]);
    let both = recheck([invoice_object("in_1"), session_object("cs_1")]);
    assert_eq!(of_objects(saved(&mut source, &[], &both)), [""; 0]);
    // Values alone: the invoice still waits for the same.
    let object = json!({
        "id": "in_1", "object": "invoice", "status": "open", "total": 600,
        "currency": "eur", "metadata": { "bookingId": "7" },
    });
    let later = event("evt_4", "invoice.updated", "acct_a", 5, object);
    let values = of_objects(saved(&mut source, &[later], &none));
    assert_eq!(values, ["invoice in_1 owner_unknown"]);
    let later = session("evt_5", "acct_a", 6);
    assert_eq!(
        of_objects(saved(&mut source, &[later], &none)),
        ["session cs_1 true"]
    );
    // The place alone: the owner is known now, and no event came.
    let owner = Some(owned_by("acct_a"));
    source.app().configured_owner = owner;
    let place = of_objects(saved(&mut source, &[], &both));
    assert_eq!(place, ["invoice in_1 -", "session cs_1 false"]);
    // An invoice of which no event came has no row.
    let unknown = recheck([invoice_object("in_8")]);
    assert_eq!(saved(&mut source, &[], &unknown), [""; 0]);
}

#[test]
fn the_booking_that_the_latest_accepted_part_names_counts() {
    let part = |booking: i32, after: i64| {
        let booking = booking.to_string();
        let event = invoice(&format!("evt_{after}"), "acct_a", Some(&booking), after);
        let crate::event::EventData::Invoice(data) = event.data.clone() else {
            panic!("{event:?}");
        };
        (event.claim().unwrap().1, data.invoice)
    };
    let owners = Owners::from([7, 8].map(|id| (BookingId(id), owned_by("acct_a"))));
    for (of_seven, of_eight, expected) in [(1, 2, 8), (2, 1, 7)] {
        let (claim, invoice) = part(7, of_seven);
        let mut by_claim = ByClaim::<Invoice>::of(claim, invoice);
        assert_eq!(by_claim.len(), 1);
        let (claim, invoice) = part(8, of_eight);
        let _ = by_claim.merge(claim, invoice);
        let resolved = by_claim.resolve(&owners);
        assert_eq!(resolved.booking, Some(BookingId(expected)));
        let latest = resolved.latest.unwrap();
        assert_eq!(latest.booking, Some(BookingId(expected)));
    }
}
