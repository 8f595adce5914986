//! Which outcomes of earlier events a decided claim changes.

use super::{
    BOOKING, Memory, invoice, invoice_object, merged, merged_with, other_invoice, owned_by,
    projected, recheck, session_object, source,
};
use crate::{
    ownership::Owner,
    reclassify::{OwnerChange, reclassified},
    source::Recheck,
    working_set::WorkingSet,
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
fn changes(set: &WorkingSet) -> Vec<(String, bool)> {
    let changes = reclassified(set, &set.project());
    assert_eq!(changes.owners, []);
    changes
        .objects
        .into_iter()
        .map(|change| {
            assert_eq!(change.booking, BOOKING);
            assert_eq!(change.object, invoice_object("in_1"));
            (change.account.to_string(), change.is_accepted)
        })
        .collect()
}

fn one(account: &str, is_accepted: bool) -> [(String, bool); 1] {
    [(account.to_owned(), is_accepted)]
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
    let earlier = other_invoice("evt_4", "acct_b", 0);
    let set = merged(&source_with_claim(), &[earlier]);
    let changes = reclassified(&set, &set.project());
    let owner = OwnerChange {
        booking: BOOKING,
        owner: "acct_b".into(),
    };
    assert_eq!((changes.objects.len(), changes.owners), (0, vec![owner]));
}

#[test]
fn a_claim_that_is_taken_back_gives_the_booking_to_the_next() {
    let mut source = source_with_claim();
    // It is refused, as long as acct_a claims the booking.
    let other = [other_invoice("evt_2", "acct_b", 20)];
    let set = merged(&source, &other);
    source.store(&set);
    let taken_back = [invoice("evt_3", "acct_a", None, 30)];
    let set = merged(&source, &taken_back);
    assert_eq!(set.owners().get(&BOOKING), Some(&owned_by("acct_b")));
    let changes = reclassified(&set, &set.project());
    assert_eq!(changes.owners[0].owner, "acct_b");
    // What it said before it took the claim back is not refused.
    assert!(changes.objects.iter().all(|change| change.is_accepted));
    assert_eq!(projected(&set).booking, None);
}

#[test]
fn a_session_that_expired_unpaid_claims_nothing() {
    let expired = |payment: &str| {
        let object = serde_json::json!({
            "id": "cs_1", "object": "checkout.session", "status": "expired",
            "payment_status": payment, "metadata": { "bookingId": "7" },
        });
        super::event("evt_e", "checkout.session.expired", "acct_b", 0, object)
    };
    for (payment, owner) in [("unpaid", "acct_a"), ("paid", "acct_b")] {
        let set = merged(&source_with_claim(), &[expired(payment)]);
        assert_eq!(
            set.owners().get(&BOOKING),
            Some(&owned_by(owner)),
            "{payment}"
        );
    }
}

/// In whichever order it is heard that the guest went through and that the money did not come,
/// or came after all.
#[test]
fn a_session_whose_payment_failed_claims_nothing() {
    let session = |kind: &str, id: &str, created: i64, payment: &str| {
        let object = serde_json::json!({
            "id": "cs_1", "object": "checkout.session", "status": "complete",
            "payment_status": payment, "metadata": { "bookingId": "7" },
        });
        let kind = format!("checkout.session.{kind}");
        super::event(id, &kind, "acct_b", created, object)
    };
    let complete = session("completed", "evt_c", 5, "unpaid");
    let failed = session("async_payment_failed", "evt_f", 0, "unpaid");
    let paid = session("async_payment_succeeded", "evt_p", 1, "paid");
    for (events, owner) in [
        (vec![complete.clone()], "acct_b"),
        (vec![complete.clone(), failed.clone()], "acct_a"),
        (vec![failed.clone(), complete.clone()], "acct_a"),
        (vec![failed, paid, complete], "acct_b"),
    ] {
        let set = merged(&source_with_claim(), &events);
        let owners = set.owners();
        assert_eq!(owners.get(&BOOKING), Some(&owned_by(owner)), "{events:?}");
    }
}

#[test]
fn a_rechecked_claim_is_classified_again() {
    let source = source_with_claim();
    let set = merged_with(&source, &[], &recheck([invoice_object("in_1")]));
    assert_eq!(changes(&set), one("acct_a", true));
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
    assert_eq!(changes(&set), one("acct_a", false));
}

#[test]
fn a_claim_is_not_classified_while_the_owner_is_unknown() {
    let mut source = source_with_claim();
    let asked = recheck([invoice_object("in_1")]);
    for (owner, expected) in [
        (Owner::Unknown, None),
        (owned_by("acct_a"), Some(("acct_a".to_owned(), true))),
        (owned_by("acct_b"), Some(("acct_a".to_owned(), false))),
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
    let of_same_invoice = [invoice("evt_2", "acct_a", Some("7"), 20)];
    for (owner, expected) in [
        (Owner::Unknown, None),
        (owned_by("acct_a"), Some(("acct_a".to_owned(), true))),
        (owned_by("acct_b"), Some(("acct_a".to_owned(), false))),
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
