//! Merging: which of two events comes first, and what a merge changes.

use super::{START, invoice, session};
use crate::{
    checkout_session::CheckoutSession,
    event::EventData,
    merge::{Change, Merge, earliest},
};

#[test]
fn an_event_without_a_time_comes_after_all_others() {
    let mut times = [0, START, 1];
    times.sort_by_key(|created| earliest(*created));
    assert_eq!(times, [1, START, 0]);
}

#[test]
fn two_merges_changed_something_if_one_of_them_did() {
    use Change::{Changed, Unchanged};
    assert_eq!(Changed.or(Unchanged), Changed);
    assert_eq!(Unchanged.or(Changed), Changed);
    assert_eq!(Changed.or(Changed), Changed);
    assert_eq!(Unchanged.or(Unchanged), Unchanged);
}

#[test]
fn an_invoice_that_is_merged_twice_does_not_change() {
    let EventData::Invoice(data) = invoice("evt_1", "acct_a", None, 0).data else {
        panic!("the event is of no invoice");
    };
    let merged = data.invoice.clone().merge(data.invoice.clone());
    assert_eq!(merged, Change::Unchanged);
}

#[test]
fn a_session_keeps_its_latest_event_in_either_order() {
    let [before, after] =
        [session("evt_1", "acct_a", 0), session("evt_2", "acct_a", 1)].map(|event| {
            match event.data {
                EventData::CheckoutSession(data) => data.session,
                other => panic!("{other:?}"),
            }
        });
    assert_eq!(before.clone().merge(before.clone()), Change::Unchanged);

    let merged = |one: &CheckoutSession, other: &CheckoutSession| {
        let mut merged = one.clone();
        assert_eq!(merged.merge(other.clone()), Change::Changed);
        merged
    };
    let both = merged(&before, &after);
    assert_eq!(both, merged(&after, &before));
    assert_eq!(both.latest, after.latest);
    assert!(before.is_of_one_event() && after.is_of_one_event());
    assert!(
        !both.is_of_one_event(),
        "the earlier event named the invoice first"
    );
    let mut other_event = before;
    other_event.latest.event_id = "evt_3".into();
    assert!(!other_event.is_of_one_event(), "in the same second");
}
