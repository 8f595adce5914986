//! What becomes of an event.

use serde_json::json;

use super::{event, invoice, merged, other_invoice, owned_by, projected, session, source};
use crate::{
    event::{Event, IgnoreReason},
    merge::Change,
    outcome::{Decision, Outcome, decide},
    ownership::Owner,
    rejection::Rejection,
    rows::WaitingFor,
};

/// The decision of an event in the working set of these events.
fn decided(
    configured_owner: Option<Owner>,
    events: &[Event],
    event: &Event,
    change: Change,
    is_retry: bool,
) -> Decision {
    let set = merged(&source(configured_owner), events);
    decide(&set, &set.project(), event, change, is_retry)
}

#[test]
fn an_event_that_was_decided_before_is_applied_though_it_changes_nothing() {
    let event = invoice("evt_1", "acct_a", Some("7"), 0);
    for (change, is_retry, decision) in [
        (Change::Changed, false, Decision::Applied),
        (Change::Changed, true, Decision::Applied),
        (Change::Unchanged, false, Decision::Stale),
        (Change::Unchanged, true, Decision::Applied),
    ] {
        let events = std::slice::from_ref(&event);
        let owner = Some(owned_by("acct_a"));
        assert_eq!(decided(owner, events, &event, change, is_retry), decision);
    }
}

/// Only the invoice waits until the owner of the booking is known.
#[test]
fn an_event_with_an_undecided_claim_is_applied_or_stale() {
    let events = [
        invoice("evt_1", "acct_a", Some("7"), 0),
        session("evt_2", "acct_a", 1),
    ];
    for event in &events {
        let decided = |change| decided(Some(Owner::Unknown), &events, event, change, false);
        assert_eq!(decided(Change::Changed), Decision::Applied);
        assert_eq!(decided(Change::Unchanged), Decision::Stale);
    }
    let set = merged(&source(Some(Owner::Unknown)), &events);
    assert_eq!(projected(&set).waiting, Some(WaitingFor::Owner));
}

#[test]
fn an_event_with_a_refused_claim_is_dead_whatever_it_changes() {
    let events = [
        invoice("evt_1", "acct_a", Some("7"), 0),
        session("evt_2", "acct_a", 0),
    ];
    for event in &events {
        for change in [Change::Changed, Change::Unchanged] {
            let decision = decided(Some(owned_by("acct_b")), &events, event, change, true);
            let Decision::Dead(why) = decision else {
                panic!("{decision:?}");
            };
            let said = "Booking 7 belongs to the account acct_b.";
            assert_eq!(why.to_string(), said);
        }
    }
    // An event that names no booking makes no claim that could be refused.
    let unnamed = [invoice("evt_3", "acct_a", None, 0)];
    let owner = Some(owned_by("acct_b"));
    let decision = decided(owner, &unnamed, &unnamed[0], Change::Changed, false);
    assert_eq!(decision, Decision::Applied);
}

#[test]
fn a_refused_claim_says_which_object_of_which_account_has_the_booking() {
    let events = [
        other_invoice("evt_1", "acct_b", 0),
        invoice("evt_2", "acct_a", Some("7"), 5),
    ];
    let decision = decided(None, &events, &events[1], Change::Changed, false);
    let Decision::Dead(why) = decision else {
        panic!("{decision:?}");
    };
    let said = "Booking 7 belongs to the account acct_b, which named it first in in_9.";
    assert_eq!(why.to_string(), said);
}

/// Metadata is a snapshot: what a later event took back is not refused.
#[test]
fn a_claim_that_a_later_event_took_back_is_not_refused() {
    let events = [
        other_invoice("evt_1", "acct_b", 0),
        invoice("evt_2", "acct_a", Some("7"), 5),
        invoice("evt_3", "acct_a", None, 6),
    ];
    let decision = decided(None, &events, &events[1], Change::Changed, false);
    assert_eq!(decision, Decision::Applied);
}

#[test]
fn an_event_of_an_unhandled_type_is_ignored() {
    let charge = json!({ "id": "ch_1", "object": "charge" });
    let event = event("evt_1", "charge.succeeded", "acct_a", 0, charge);
    let ignored = Decision::Ignored(IgnoreReason::UnhandledType);
    for change in [Change::Unchanged, Change::Changed] {
        assert_eq!(decided(None, &[], &event, change, false), ignored);
    }
}

#[test]
fn a_decision_has_an_outcome_a_word_and_perhaps_a_reason() {
    let dead = Decision::Dead(Rejection::InvalidBookingId);
    let other_mode = Decision::Ignored(IgnoreReason::OtherMode);
    let unhandled = Decision::Ignored(IgnoreReason::UnhandledType);
    for (decision, outcome, word, reason) in [
        (Decision::Applied, Some(Outcome::Applied), "applied", None),
        (Decision::Stale, Some(Outcome::Stale), "stale", None),
        (Decision::Duplicate, None, "duplicate", None),
        (
            other_mode,
            Some(Outcome::Ignored),
            "ignored",
            Some("other_mode"),
        ),
        (
            unhandled,
            Some(Outcome::Ignored),
            "ignored",
            Some("unhandled_type"),
        ),
        (
            dead,
            Some(Outcome::Dead),
            "dead",
            Some("invalid_booking_id"),
        ),
    ] {
        assert_eq!(decision.outcome(), outcome);
        assert_eq!((decision.as_str(), decision.reason()), (word, reason));
    }
}

#[test]
fn an_outcome_is_written_as_the_table_takes_it() {
    let written: Vec<&str> = Outcome::ALL.iter().map(|one| one.as_str()).collect();
    assert_eq!(written, ["applied", "stale", "ignored", "dead", "replayed"]);
    assert_eq!(Outcome::parse("waiting"), None, "events do not wait");
}
