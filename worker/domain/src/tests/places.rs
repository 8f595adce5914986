//! Where invoices belong, and what they wait for.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{event, invoice, join, of, session, world};
use crate::{
    Fact,
    booking::{Booking, Kind},
    claim::{Claim, Claimed, Owner, Owners, Standing},
    invoice::Invoice,
    place::{Placed, Waiting, waits_for},
    world::World,
};

fn placed(world: &World) -> BTreeMap<&str, Placed> {
    world.place(&world.owners())
}

/// What the invoice waits for, and the booking and the account that it is of.
fn place(world: &World) -> (Option<Waiting>, Option<i32>, String) {
    let placed = placed(world).remove("in_1").unwrap();
    (placed.waiting, placed.booking, placed.account)
}

#[test]
fn an_invoice_waits_for_whoever_knows_whose_its_booking_is() {
    let named = invoice("evt_1", "acct_a", Some("7"), 0);
    for (owner, expected) in [
        (Owner::Unknown, (Some(Waiting::OwnerUnknown), None)),
        (of("acct_b"), (Some(Waiting::ClaimedByOtherAccount), None)),
        (of("acct_a"), (None, Some(7))),
    ] {
        let mut world = world(Some(owner));
        join(&mut world, std::slice::from_ref(&named));
        let (waiting, booking, account) = place(&world);
        assert_eq!(((waiting, booking), &*account), (expected, "acct_a"));
    }
}

#[test]
fn an_invoice_without_a_booking_says_what_its_session_waits_for() {
    let unnamed = invoice("evt_1", "acct_a", None, 0);
    for (owner, waiting, booking) in [
        (Owner::Unknown, Some(Waiting::OwnerUnknown), None),
        (of("acct_b"), Some(Waiting::NoBooking), None),
        (of("acct_a"), None, Some(7)),
    ] {
        let mut world = world(Some(owner));
        join(
            &mut world,
            &[unnamed.clone(), session("evt_2", "acct_a", 1)],
        );
        let place = place(&world);
        assert_eq!(place, (waiting, booking, "acct_a".to_owned()));
        // The session itself never waits for that, whatever its id is.
        let placed = placed(&world);
        assert_eq!(waits_for(&placed, Kind::Invoice, "in_1"), waiting);
        assert_eq!(waits_for(&placed, Kind::Session, "in_1"), None);
    }
    // No session at all.
    let mut world = world(None);
    join(&mut world, &[unnamed]);
    assert_eq!(place(&world).0, Some(Waiting::NoBooking));
}

#[test]
fn a_part_of_an_invoice_is_enough_to_show_it() {
    let whose = |first: &str, second: &str, owner: Owner| {
        let mut world = world(Some(owner));
        let one = invoice("evt_1", first, Some("7"), 0);
        let mut two = invoice("evt_2", second, None, 1);
        if let Fact::Invoice(fact) = &mut two.fact {
            fact.booking = Some(8);
        }
        let nobody = Booking {
            exists: true,
            decreed: Some(Owner::Unknown),
            ..Booking::default()
        };
        world.bookings.insert(8, nobody);
        join(&mut world, &[one, two]);
        place(&world)
    };
    // The accepted part is shown, although a later one is undecided.
    assert_eq!(
        whose("acct_a", "acct_b", of("acct_a")),
        (None, Some(7), "acct_a".to_owned())
    );
    // One part is refused and one undecided: the worse is told.
    assert_eq!(
        whose("acct_a", "acct_b", of("acct_c")),
        (
            Some(Waiting::ClaimedByOtherAccount),
            None,
            "acct_b".to_owned()
        )
    );
}

#[test]
fn the_worst_standing_is_kept_in_every_order() {
    let part = |id: &str| match invoice(id, "acct_a", None, 0).fact {
        Fact::Invoice(fact) => fact.invoice,
        other => panic!("{other:?}"),
    };
    let claim = |account: &str, booking| Claim {
        account: account.into(),
        booking,
    };
    let owners = Owners::from([(1, of("acct_z")), (2, Owner::Unknown)]);
    let worst = |claims: &[Claim]| {
        let mut claimed = Claimed::<Invoice>::default();
        assert_eq!((claimed.is_empty(), claimed.len()), (true, 0));
        for (number, claim) in claims.iter().enumerate() {
            let _ = claimed.join(claim.clone(), part(&format!("evt_{number}")));
        }
        assert!(!claimed.is_empty());
        assert_eq!(claimed.len(), claims.len());
        claimed.resolve(&owners).worst
    };
    let [accepted, undecided, refused] =
        [None, Some(2), Some(1)].map(|booking| claim("acct_a", booking));
    let later = claim("acct_b", Some(2));
    assert_eq!(worst(std::slice::from_ref(&accepted)), Standing::Accepted);
    assert_eq!(worst(&[accepted, undecided.clone()]), Standing::Undecided);
    assert_eq!(worst(&[undecided, refused.clone()]), Standing::Refused);
    assert_eq!(worst(&[refused, later]), Standing::Refused);
}

#[test]
fn an_invoice_is_shown_once_its_amount_is_known_and_unless_it_is_gone() {
    for (field, value, expected) in [
        ("total", Value::Null, Some(Waiting::AmountUnknown)),
        ("currency", Value::Null, Some(Waiting::AmountUnknown)),
        ("total", json!(0), None),
    ] {
        let mut object = json!({
            "id": "in_1", "object": "invoice", "status": "open", "total": 500,
            "currency": "eur", "metadata": { "bookingId": "7" },
        });
        object[field] = value;
        let mut world = world(None);
        join(
            &mut world,
            &[event("evt_1", "invoice.finalized", "acct_a", 0, object)],
        );
        assert_eq!(place(&world).0, expected, "{field}");
    }
    // One that is void is not shown, and waits for nothing.
    let object = json!({ "id": "in_1", "object": "invoice", "status": "void" });
    let mut world = world(None);
    join(
        &mut world,
        &[event("evt_1", "invoice.voided", "acct_a", 0, object)],
    );
    assert_eq!(place(&world).0, None);
    // But whose it is has to be known even then.
    let object = json!({
        "id": "in_1", "object": "invoice", "status": "void",
        "metadata": { "bookingId": "7" },
    });
    let voided = event("evt_1", "invoice.voided", "acct_a", 0, object);
    for (owner, expected) in [
        (Owner::Unknown, Some(Waiting::OwnerUnknown)),
        (of("acct_b"), Some(Waiting::ClaimedByOtherAccount)),
        (of("acct_a"), None),
    ] {
        let mut world = super::world(Some(owner));
        join(&mut world, std::slice::from_ref(&voided));
        assert_eq!(place(&world).0, expected);
    }
}
