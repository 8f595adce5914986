//! Which outcomes of earlier events a decided claim changes.

use super::{
    BOOKING, Memory, invoice, invoice_object, merged, merged_with, other_invoice, owned_by,
    projected, recheck, session_object, source,
};
use crate::{
    ownership::Owner,
    reclassify::outcome_changes,
    working_set::{Recheck, WorkingSet},
};

/// A source that knows the booking and the invoice `in_1`, by which acct_a claims it.
fn source_with_claim() -> Memory {
    let mut stored = source(None);
    let first = invoice("evt_1", "acct_a", Some("7"), 10);
    let set = merged(&stored, std::slice::from_ref(&first));
    stored.store(&set);
    stored
}

/// The account of each change, and whether its claim is accepted.
fn changes(set: &WorkingSet) -> Vec<(&str, bool)> {
    let changes = outcome_changes(set, &set.owners());
    changes
        .into_iter()
        .map(|change| {
            assert_eq!(change.booking, BOOKING);
            assert_eq!(*change.object, invoice_object("in_1"));
            (change.account.as_str(), change.is_accepted)
        })
        .collect()
}

#[test]
fn a_claim_that_changes_no_owner_changes_no_outcome() {
    let source = source_with_claim();
    for event in [
        // The account that has the booking claims it again.
        invoice("evt_2", "acct_a", Some("7"), 20),
        // Another account claims it later; its own event is dead by its own decision.
        invoice("evt_3", "acct_b", Some("7"), 20),
    ] {
        assert_eq!(changes(&merged(&source, &[event])), []);
    }
}

#[test]
fn an_earlier_claim_of_another_account_takes_the_booking_away() {
    let earlier = invoice("evt_4", "acct_b", Some("7"), 0);
    let set = merged(&source_with_claim(), &[earlier]);
    assert_eq!(changes(&set), [("acct_a", false)]);
}

#[test]
fn a_rechecked_claim_is_classified_again() {
    let source = source_with_claim();
    let set = merged_with(&source, &[], &recheck([invoice_object("in_1")]));
    assert_eq!(changes(&set), [("acct_a", true)]);
    // What the invoice waits for is told by its projection.
    assert_eq!(projected(&set).waiting, None);
    // A session of the same id is another object.
    let set = merged_with(&source, &[], &recheck([session_object("in_1")]));
    assert_eq!(changes(&set), []);
}

#[test]
fn a_claim_is_not_classified_before_its_object_is_loaded() {
    let mut source = source_with_claim();
    let configured_owner = Some(owned_by("acct_b"));
    source.app().configured_owner = configured_owner;
    let of_owner = [other_invoice("evt_2", "acct_b", 20)];
    // The invoice of acct_a is not loaded: acct_b has the booking.
    let set = merged(&source, &of_owner);
    assert!(!set.is_loaded(&invoice_object("in_1")));
    assert_eq!(changes(&set), []);
    let set = merged_with(&source, &of_owner, &recheck([invoice_object("in_1")]));
    assert!(set.is_loaded(&invoice_object("in_1")));
    assert_eq!(changes(&set), [("acct_a", false)]);
}

#[test]
fn a_claim_is_not_classified_while_the_owner_is_unknown() {
    let mut source = source_with_claim();
    let asked = recheck([invoice_object("in_1")]);
    for (owner, expected) in [
        (Owner::Unknown, None),
        (owned_by("acct_a"), Some(("acct_a", true))),
        (owned_by("acct_b"), Some(("acct_a", false))),
    ] {
        source.app().configured_owner = Some(owner);
        let set = merged_with(&source, &[], &asked);
        assert_eq!(changes(&set), expected.into_iter().collect::<Vec<_>>());
    }
}

/// What the query said before is not known.
#[test]
fn a_claim_is_classified_again_where_the_deployment_has_a_query() {
    let mut source = source_with_claim();
    let of_same_invoice = [invoice("evt_2", "acct_b", Some("7"), 20)];
    for (owner, expected) in [
        (Owner::Unknown, None),
        (owned_by("acct_a"), Some(("acct_a", true))),
        (owned_by("acct_b"), Some(("acct_a", false))),
    ] {
        source.app().configured_owner = Some(owner);
        let set = merged(&source, &of_same_invoice);
        assert_eq!(changes(&set), expected.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_claim_that_is_new_is_not_classified_again() {
    let first = invoice("evt_1", "acct_a", Some("7"), 10);
    let asked = recheck([invoice_object("in_1")]);
    for (owner, recheck) in [
        (None, Recheck::default()),
        (None, asked.clone()),
        (Some(owned_by("acct_b")), asked),
    ] {
        let events = std::slice::from_ref(&first);
        let set = merged_with(&source(owner), events, &recheck);
        assert_eq!(changes(&set), []);
    }
}
