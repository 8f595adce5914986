//! Claims: how many bookings an object may name and how many objects a booking, and how
//! certain claims are.

use serde_json::json;

use super::{BOOKING, Memory, START, event, invoice, merged, owned_by, projected, source};
use crate::{
    by_claim::{ByClaim, MAX_BOOKINGS, Naming},
    event::{Event, EventData},
    ids::{BookingId, InvoiceId},
    invoice::Invoice,
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

#[test]
fn the_least_certain_status_is_kept_in_every_order() {
    let part = |id: &str| match invoice(id, "acct_a", None, 0).data {
        EventData::Invoice(data) => data.invoice,
        other => panic!("{other:?}"),
    };
    let claim = |account: &str, booking: Option<i32>| Claim {
        account: account.into(),
        booking: booking.map(BookingId),
    };
    let owners = Owners::from([
        (BookingId(1), owned_by("acct_z")),
        (BookingId(2), Owner::Unknown),
    ]);
    let resolved = |claims: &[Claim]| {
        let mut by_claim = ByClaim::<Invoice>::default();
        assert_eq!((by_claim.is_empty(), by_claim.len()), (true, 0));
        assert_eq!(by_claim.whole(), None);
        for (number, claim) in claims.iter().enumerate() {
            let _ = by_claim.merge(claim.clone(), part(&format!("evt_{number}")));
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
