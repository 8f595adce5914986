//! Merging: which of two events comes first, and what a merge changes.

use super::{START, invoice, session};
use crate::{
    checkout_session::CheckoutSession,
    event::EventData,
    invoice::{Invoice, Status},
    merge::{
        Change, EventOrder, Merge, Register, earliest, keep_first, keep_latest, set_by, value,
    },
};

fn order(rank: u8, after: i64, event_id: &str) -> EventOrder {
    EventOrder {
        rank,
        created: START + after,
        event_id: event_id.into(),
    }
}

fn register(text: &str, order: &EventOrder) -> Option<Register<String>> {
    set_by(Some(text.to_owned()), order)
}

#[test]
fn a_register_keeps_the_value_of_the_latest_or_of_the_first_event() {
    // From the smallest order to the greatest. The rank outweighs the time, and that the
    // event's id.
    let orders = [
        order(0, 8, "evt_1"),
        order(0, 9, "evt_1"),
        order(0, 9, "evt_2"),
        order(1, 0, "evt_1"),
    ];
    for (number, smaller) in orders.iter().enumerate() {
        for greater in &orders[number + 1..] {
            let [old, new] = [("old", smaller), ("new", greater)].map(|(t, o)| register(t, o));
            let mut latest = old.clone();
            assert_eq!(keep_latest(&mut latest, new.clone()), Change::Changed);
            assert_eq!(latest, new);
            assert_eq!(keep_latest(&mut latest, old.clone()), Change::Unchanged);
            assert_eq!(value(&latest).map(String::as_str), Some("new"));
        }
    }
    // For the first event the rank does not count.
    let by_time = [&orders[3], &orders[0], &orders[1], &orders[2]];
    for (number, earlier) in by_time.iter().enumerate() {
        for later in &by_time[number + 1..] {
            let [old, new] = [("old", earlier), ("new", later)].map(|(t, o)| register(t, o));
            let mut first = new.clone();
            assert_eq!(keep_first(&mut first, old.clone()), Change::Changed);
            assert_eq!(first, old);
            assert_eq!(keep_first(&mut first, new), Change::Unchanged);
            assert_eq!(first, old);
        }
    }
}

#[test]
fn a_register_is_never_emptied_and_takes_what_its_own_event_says_anew() {
    for keep in [keep_latest::<String>, keep_first::<String>] {
        let mut known = None;
        assert_eq!(keep(&mut known, None), Change::Unchanged);
        let said = register("one", &order(1, 0, "evt_1"));
        assert_eq!(keep(&mut known, said.clone()), Change::Changed);
        assert_eq!(keep(&mut known, None), Change::Unchanged);
        assert_eq!(keep(&mut known, said.clone()), Change::Unchanged);
        assert_eq!(known, said);
        let mended = register("two", &order(1, 0, "evt_1"));
        assert_eq!(keep(&mut known, mended.clone()), Change::Changed);
        assert_eq!(known, mended);
    }
    assert_eq!(set_by::<String>(None, &order(0, 0, "evt_1")), None);
}

#[test]
fn an_invoice_keeps_its_highest_status_and_the_values_of_its_latest_event() {
    let state = |status: Status, after: i64, number: Option<&str>| {
        let order = order(status.rank(), after, &format!("evt_{after}"));
        Invoice {
            latest: Some(EventOrder {
                rank: 0,
                ..order.clone()
            }),
            total: set_by(Some(after), &order),
            number: set_by(number.map(str::to_owned), &order),
            currency: None,
            created: None,
            hosted_url: None,
            pdf_url: None,
            finalization_error: None,
            tax_status: None,
            status: Register {
                value: status,
                order,
            },
        }
    };
    let open = state(Status::Open, 2, Some("A-1"));
    let paid = state(Status::Paid, 1, None);
    for [first, second] in [[&open, &paid], [&paid, &open]] {
        let mut merged = first.clone();
        assert_eq!(merged.merge(second.clone()), Change::Changed);
        assert_eq!(merged.status, paid.status);
        assert_eq!(merged.latest().time(), open.status.order.time());
        assert_eq!(merged.total, paid.total);
        assert_eq!(merged.number, open.number, "the other event says none");
        assert!(!merged.is_of_one_event());
        assert_eq!(merged.merge(open.clone()), Change::Unchanged);
    }
    // Each value counts.
    let order = order(0, 0, "evt_other");
    let text = || set_by(Some("x".to_owned()), &order);
    let number = || set_by(Some(1), &order);
    assert!(open.is_of_one_event() && paid.is_of_one_event());
    for other in [
        Invoice {
            total: number(),
            ..open.clone()
        },
        Invoice {
            currency: text(),
            ..open.clone()
        },
        Invoice {
            created: number(),
            ..open.clone()
        },
        Invoice {
            number: text(),
            ..open.clone()
        },
        Invoice {
            hosted_url: text(),
            ..open.clone()
        },
        Invoice {
            pdf_url: text(),
            ..open.clone()
        },
    ] {
        assert!(!other.is_of_one_event(), "{other:?}");
    }
}

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
