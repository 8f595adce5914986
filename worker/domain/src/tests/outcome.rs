//! What becomes of an event.

use serde_json::json;

use super::{BOOKING, event, invoice, merged, owned_by, projected, session, source};
use crate::{
    event::IgnoreReason,
    merge::Change,
    outcome::{Decision, Outcome, decide},
    ownership::{Owner, Owners},
    rejection::Rejection,
    rows::WaitingFor,
};

#[test]
fn an_event_that_was_decided_before_is_applied_though_it_changes_nothing() {
    let event = invoice("evt_1", "acct_a", Some("7"), 0);
    let owners = Owners::from([(BOOKING, owned_by("acct_a"))]);
    for (change, is_retry, decision) in [
        (Change::Changed, false, Decision::Applied),
        (Change::Changed, true, Decision::Applied),
        (Change::Unchanged, false, Decision::Stale),
        (Change::Unchanged, true, Decision::Applied),
    ] {
        assert_eq!(decide(&event, Ok(change), &owners, is_retry), decision);
    }
}

/// Only the invoice waits until the owner of the booking is known.
#[test]
fn an_event_with_an_undecided_claim_is_applied_or_stale() {
    let events = [
        invoice("evt_1", "acct_a", Some("7"), 0),
        session("evt_2", "acct_a", 1),
    ];
    for owners in [Owners::from([(BOOKING, Owner::Unknown)]), Owners::new()] {
        for event in &events {
            let decided = |change| decide(event, Ok(change), &owners, false);
            assert_eq!(decided(Change::Changed), Decision::Applied);
            assert_eq!(decided(Change::Unchanged), Decision::Stale);
        }
    }
    let set = merged(&source(Some(Owner::Unknown)), &events);
    assert_eq!(projected(&set).waiting, Some(WaitingFor::Owner));
}

#[test]
fn an_event_with_a_refused_claim_is_dead_whatever_it_changes() {
    let refused = Rejection::BookingClaimedByOtherAccount { booking: BOOKING };
    let owners = Owners::from([(BOOKING, owned_by("acct_b"))]);
    for event in [
        invoice("evt_1", "acct_a", Some("7"), 0),
        session("evt_2", "acct_a", 0),
    ] {
        for change in [Change::Changed, Change::Unchanged] {
            let decision = decide(&event, Ok(change), &owners, true);
            assert_eq!(decision, Decision::Dead(refused.clone()));
        }
        // An event that could not be merged is dead for that reason.
        let too_many = Rejection::TooManyClaims { booking: BOOKING };
        let decision = decide(&event, Err(too_many.clone()), &owners, false);
        assert_eq!(decision, Decision::Dead(too_many));
    }
    // An event that names no booking makes no claim that could be refused.
    let unnamed = invoice("evt_3", "acct_a", None, 0);
    let decision = decide(&unnamed, Ok(Change::Changed), &owners, false);
    assert_eq!(decision, Decision::Applied);
}

#[test]
fn an_event_of_an_unhandled_type_is_ignored() {
    let charge = json!({ "id": "ch_1", "object": "charge" });
    let event = event("evt_1", "charge.succeeded", "acct_a", 0, charge);
    let ignored = Decision::Ignored(IgnoreReason::UnhandledType);
    for merged in [Ok(Change::Unchanged), Ok(Change::Changed)] {
        assert_eq!(decide(&event, merged, &Owners::new(), false), ignored);
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
