//! Claims: how many bookings an object may name and how many objects a booking, and how
//! certain claims are.

use serde_json::json;

use super::{BOOKING, Memory, START, event, invoice, merged, owned_by, projected, source};
use crate::{
    by_claim::{ByClaim, MAX_BOOKINGS, Naming},
    checkout_session::CheckoutSession,
    event::{Event, EventData},
    ids::{BookingId, InvoiceId},
    invoice::Invoice,
    merge::Merge,
    ownership::{Claim, ClaimStatus, MAX_OBJECTS, Owner, Owners},
    rows::WaitingFor,
};

/// The `number`th invoice that names [`BOOKING`].
fn nth(number: usize) -> Event {
    let object = json!({
        "id": format!("in_{number:03}"), "object": "invoice", "status": "open",
        "total": 100, "currency": "eur", "created": START, "metadata": { "bookingId": "7" },
    });
    let after = i64::try_from(number).unwrap();
    event(
        &format!("evt_{number:03}"),
        "invoice.finalized",
        "acct_a",
        after,
        object,
    )
}

/// What each invoice waits for, after these batches in this order.
fn waiting(source: &mut Memory, batches: &[&[Event]]) -> Vec<(InvoiceId, Option<WaitingFor>)> {
    for batch in batches {
        let set = merged(source, batch);
        source.store(&set);
        let projection = set.project();
        for (id, one) in &projection.invoices {
            let stored = source.invoices.get_mut(*id).unwrap();
            stored.projection = Some(one.stored.clone());
        }
    }
    let invoices = source.invoices.iter();
    invoices
        .map(|(id, one)| (id.clone(), one.projection.as_ref().unwrap().waiting))
        .collect()
}

/// The first objects by their events count, whichever comes first, so the rest can wait
/// without being lost: should one of the first go, the next takes its turn.
#[test]
fn a_booking_has_so_many_objects_and_the_first_ones_count_in_every_order() {
    let events: Vec<Event> = (0..MAX_OBJECTS + 2).map(nth).collect();
    let reversed: Vec<Event> = events.iter().rev().cloned().collect();
    let (first, rest) = events.split_at(1);
    let late: Vec<&[Event]> = vec![rest, first];
    let singly: Vec<&[Event]> = reversed.chunks(7).collect();
    let expected: Vec<(InvoiceId, Option<WaitingFor>)> = (0..MAX_OBJECTS + 2)
        .map(|number| {
            let waits = (number >= MAX_OBJECTS).then_some(WaitingFor::Turn);
            (format!("in_{number:03}").as_str().into(), waits)
        })
        .collect();
    for batches in [vec![&events[..]], late, singly] {
        let mut source = source(None);
        assert_eq!(waiting(&mut source, &batches), expected);
        // One of the first takes its claim back.
        let object = json!({ "id": "in_000", "object": "invoice", "status": "open" });
        let gone = [event("evt_gone", "invoice.updated", "acct_a", 999, object)];
        let waiting = waiting(&mut source, &[&gone]);
        let turn = waiting
            .iter()
            .filter(|(_, why)| *why == Some(WaitingFor::Turn));
        assert_eq!(turn.count(), 1);
    }
}

/// A host can change the metadata of its invoice for ever.
#[test]
fn an_object_that_names_too_many_bookings_names_none_in_every_order() {
    let named = |booking: i32| {
        let after = i64::from(booking);
        let id = format!("evt_{booking}");
        invoice(&id, "acct_a", Some(&booking.to_string()), after)
    };
    let most = i32::try_from(MAX_BOOKINGS).unwrap();
    let events: Vec<Event> = (1..=most + 4).map(named).collect();
    let source = source(None);
    let enough = merged(&source, &events[..MAX_BOOKINGS]);
    assert_eq!(projected(&enough).booking, Some(BookingId(most)));
    let reversed: Vec<Event> = events.iter().rev().cloned().collect();
    let sets = [merged(&source, &events), merged(&source, &reversed)];
    for set in &sets {
        let id = InvoiceId::from("in_1");
        let known = set.invoices.get(&id).unwrap();
        assert!(known.by_claim.names_too_many() && known.by_claim.len() == 1);
        assert_eq!(projected(set).waiting, Some(WaitingFor::OneBooking));
        assert_eq!(projected(set).booking, None);
        assert_eq!(set.owners(), Owners::new());
    }
    let state = |number: usize| {
        let id = InvoiceId::from("in_1");
        sets[number].invoices.get(&id).unwrap().by_claim.clone()
    };
    assert_eq!(state(0), state(1));
    let stored = serde_json::to_value(state(0)).unwrap();
    assert_eq!(
        serde_json::from_value::<ByClaim<Invoice>>(stored).unwrap(),
        state(0)
    );
}

/// The host of a session that a command made can change its metadata for ever as well.
#[test]
fn a_session_of_a_command_keeps_its_booking_in_every_order() {
    let named = |id: &str, kind: &str, booking: i32, created: i64| {
        let object = json!({
            "id": "cs_1", "object": "checkout.session", "status": "complete",
            "metadata": { "bookingId": booking.to_string() },
        });
        event(id, kind, "acct_a", created - START, object)
    };
    let told = named("told_cs_1", "dialoom.checkout.session.told", 7, 999_999);
    let most = i32::try_from(MAX_BOOKINGS).unwrap();
    let renamed = (1..=most + 4).map(|number| {
        let (id, created) = (format!("evt_{number}"), START + i64::from(number));
        named(&id, "checkout.session.completed", 100 + number, created)
    });
    let mut events: Vec<Event> = renamed.collect();
    let source = source(None);
    for place in [0, 1, MAX_BOOKINGS, events.len()] {
        events.insert(place, told.clone());
        let set = merged(&source, &events);
        events.remove(place);
        let known = set.checkout_sessions.get(&"cs_1".into()).unwrap();
        let claim = Claim {
            account: "acct_a".into(),
            booking: Some(BOOKING),
        };
        assert_eq!(known.by_claim.claims(), [&claim], "told at {place}");
        assert!(!known.by_claim.names_too_many());
        let owner = Owner::Account("acct_a".into());
        assert_eq!(set.owners(), Owners::from([(BOOKING, owner)]));
        let stored = serde_json::to_value(&known.by_claim).unwrap();
        let read: ByClaim<CheckoutSession> = serde_json::from_value(stored).unwrap();
        assert_eq!(read, known.by_claim);
    }
    // Without a command that made it, it names too many.
    let set = merged(&source, &events);
    assert_eq!(set.owners(), Owners::new());
}

#[test]
fn a_credit_does_not_displace_the_payment() {
    let paid = |id: &str, total: i64, after: i64| {
        let object = json!({
            "id": id, "object": "invoice", "status": "paid", "total": total,
            "currency": "eur", "created": START + after, "metadata": { "bookingId": "7" },
        });
        event(
            &format!("evt_{id}"),
            "invoice.paid",
            "acct_a",
            after,
            object,
        )
    };
    let events = [
        paid("in_1", 4500, 0),
        paid("in_2", -2000, 9),
        paid("in_3", 0, 10),
    ];
    let set = merged(&source(None), &events);
    let projection = set.project();
    assert_eq!(projection.current_invoices()[&BOOKING].0, "in_1");
    // Without a payment the newest counts.
    let set = merged(&source(None), &events[1..]);
    assert_eq!(set.project().current_invoices()[&BOOKING].0, "in_3");
}

/// What an event of the invoice says.
fn part(event: &str, after: i64) -> Invoice {
    match invoice(event, "acct_a", None, after).data {
        EventData::Invoice(data) => data.invoice,
        other => panic!("{other:?}"),
    }
}

fn claim(account: &str, booking: Option<i32>) -> Claim {
    Claim {
        account: account.into(),
        booking: booking.map(BookingId),
    }
}

/// An invoice that named these bookings, one after the other.
fn after_bookings(last: i32) -> ByClaim<Invoice> {
    let mut by_claim = ByClaim::default();
    for booking in 1..=last {
        let event = part(&format!("evt_{booking}"), booking.into());
        let _ = by_claim.merge(claim("acct_a", Some(booking)), event);
    }
    by_claim
}

/// Else plain columns would be read back as the whole state, and what they cannot hold
/// would be forgotten.
#[test]
fn an_object_is_of_one_event_only_with_one_part_and_all_of_its_names_known() {
    assert!(!after_bookings(0).is_of_one_event());
    assert!(after_bookings(1).is_of_one_event());
    assert!(!after_bookings(2).is_of_one_event());
    let most = i32::try_from(MAX_BOOKINGS).unwrap();
    let too_many = after_bookings(most + 1);
    let parts: Vec<_> = too_many.parts().collect();
    assert!(parts.len() == 1 && parts[0].1.is_of_one_event());
    assert!(!too_many.is_of_one_event());
}

#[test]
fn the_newest_event_of_each_account_names_the_booking_that_is_named_last() {
    let mut by_claim = after_bookings(2);
    assert_eq!(by_claim.named_last(), [BookingId(2)]);
    let _ = by_claim.merge(claim("acct_b", Some(9)), part("evt_other", 0));
    assert_eq!(by_claim.named_last(), [BookingId(2), BookingId(9)]);
    let _ = by_claim.merge(claim("acct_a", None), part("evt_none", 99));
    assert_eq!(by_claim.named_last(), [BookingId(9)]);
}

#[test]
fn an_object_is_of_the_booking_that_the_newest_accepted_event_names() {
    let owners = Owners::from([1, 2].map(|booking| {
        let account = ["acct_a", "acct_b"][usize::from(booking == 2)];
        (BookingId(booking), owned_by(account))
    }));
    for (after, expected) in [(0, 2), (9, 1)] {
        let mut by_claim = ByClaim::default();
        let _ = by_claim.merge(claim("acct_a", Some(1)), part("evt_1", after));
        let _ = by_claim.merge(claim("acct_b", Some(2)), part("evt_2", 5));
        let resolved = by_claim.resolve(&owners);
        assert_eq!(resolved.booking, Some(BookingId(expected)));
    }
}

#[test]
fn a_session_that_expired_unpaid_names_its_booking_and_claims_it_no_more() {
    let object = json!({
        "id": "cs_1", "object": "checkout.session", "status": "expired",
        "payment_status": "unpaid", "metadata": { "bookingId": "7" },
    });
    let expired = event("evt_1", "checkout.session.expired", "acct_a", 0, object);
    let EventData::CheckoutSession(data) = expired.data else {
        panic!("{:?}", expired.data);
    };
    let by_claim = ByClaim::of(claim("acct_a", Some(7)), data.session);
    assert_eq!(by_claim.active(), Vec::<&Claim>::new());
    assert_eq!(by_claim.named_last(), [BOOKING]);
    assert_eq!(by_claim.resolve(&Owners::new()).booking, None);
}

#[test]
fn the_least_certain_status_is_kept_in_every_order() {
    let owners = Owners::from([
        (BookingId(1), owned_by("acct_z")),
        (BookingId(2), Owner::Unknown),
    ]);
    let resolved = |claims: &[Claim]| {
        let mut by_claim = ByClaim::<Invoice>::default();
        assert_eq!((by_claim.is_empty(), by_claim.len()), (true, 0));
        assert_eq!(by_claim.whole(), None);
        for (number, claim) in claims.iter().enumerate() {
            let _ = by_claim.merge(claim.clone(), part(&format!("evt_{number}"), 0));
        }
        assert!(!by_claim.is_empty());
        assert_eq!(by_claim.len(), claims.len());
        let least_certain = by_claim.resolve(&owners).least_certain;
        (least_certain, by_claim.is_undecided(&owners))
    };
    let [accepted, undecided, refused] =
        [None, Some(2), Some(1)].map(|booking| claim("acct_a", booking));
    let undecided_later = claim("acct_b", Some(2));
    for (claims, least_certain, is_undecided) in [
        (vec![&accepted], ClaimStatus::Accepted, false),
        (vec![&accepted, &undecided], ClaimStatus::Undecided, true),
        // The later event took the earlier claim back.
        (vec![&undecided, &refused], ClaimStatus::Refused, false),
        (vec![&refused, &undecided_later], ClaimStatus::Refused, true),
        (vec![&accepted, &refused], ClaimStatus::Refused, false),
    ] {
        let claims: Vec<Claim> = claims.into_iter().cloned().collect();
        assert_eq!(resolved(&claims), (least_certain, is_undecided));
    }
}
