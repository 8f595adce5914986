//! Claims: how many a booking takes, which of them a batch changed, and how certain
//! they are.

use serde_json::json;

use super::{BOOKING, START, event, invoice, invoice_object, loaded, owned_by, source};
use crate::{
    by_claim::ByClaim,
    event::{Event, EventData},
    ids::BookingId,
    invoice::Invoice,
    merge::Change,
    ownership::{Booking, Claim, ClaimStatus, Claimant, FirstClaim, MAX_CLAIMS, Owner, Owners},
    rejection::Rejection,
    working_set::Recheck,
};

#[test]
fn an_account_claims_a_booking_by_so_many_objects_and_no_more() {
    let nth = |number: usize, account: &str| {
        let object = json!({
            "id": format!("in_{number}"), "object": "invoice", "status": "open",
            "metadata": { "bookingId": "7" },
        });
        let id = format!("evt_{account}_{number}");
        event(&id, "invoice.finalized", account, 0, object)
    };
    let mut events: Vec<Event> = (0..=MAX_CLAIMS).map(|one| nth(one, "acct_a")).collect();
    let of_other_account = nth(MAX_CLAIMS, "acct_b");
    events.push(of_other_account.clone());
    let mut set = loaded(&source(None), &events, &Recheck::default());
    for (number, event) in events.iter().take(MAX_CLAIMS).enumerate() {
        assert_eq!(set.merge(event), Ok(Change::Changed), "{number}");
    }
    let too_many = Err(Rejection::TooManyClaims { booking: BOOKING });
    assert_eq!(set.merge(&events[MAX_CLAIMS]), too_many);
    let refused = format!("in_{MAX_CLAIMS}").into();
    assert!(!set.knows_invoice(&refused), "nothing of it was taken in");
    // An object that claims the booking already may go on, and so may other accounts.
    assert!(set.merge(&events[0]).is_ok());
    assert!(set.merge(&of_other_account).is_ok());
    assert!(set.knows_invoice(&refused));
}

#[test]
fn a_booking_tells_which_claims_this_batch_changed() {
    let claimant = |account: &str| Claimant {
        account: account.into(),
        object: invoice_object("in_1"),
    };
    let at = |after: i64| FirstClaim {
        created: START + after,
        event_id: format!("evt_{after}"),
    };
    let stored = [(claimant("acct_a"), at(10)), (claimant("acct_b"), at(20))];
    let mut booking = Booking::with_claims(stored.clone().into());
    assert_eq!(booking.changed_claims().next(), None);
    // The first event of acct_a is known, and a later one changes nothing.
    for after in [10, 11] {
        let claimed = booking.claim(claimant("acct_a"), at(after));
        assert_eq!(claimed, Ok(Change::Unchanged));
    }
    assert_eq!(booking.changed_claims().next(), None);
    assert_eq!(booking.owner(), Some(owned_by("acct_a")));
    // An earlier event of acct_b changes its claim, and acct_c is new.
    let earlier = [(claimant("acct_b"), at(5)), (claimant("acct_c"), at(30))];
    for (claimant, first) in earlier.clone() {
        assert_eq!(booking.claim(claimant, first), Ok(Change::Changed));
    }
    let changed = booking.changed_claims();
    let changed: Vec<_> = changed
        .map(|(claimant, first)| (claimant.clone(), first.clone()))
        .collect();
    assert_eq!(changed, earlier);
    assert_eq!(*booking.claims_before(), stored.into());
    assert_eq!(booking.claims().len(), 3);
    assert_eq!(booking.owner(), Some(owned_by("acct_b")));
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
        (vec![&undecided, &refused], ClaimStatus::Refused, true),
        (vec![&refused, &undecided_later], ClaimStatus::Refused, true),
        (vec![&accepted, &refused], ClaimStatus::Refused, false),
    ] {
        let claims: Vec<Claim> = claims.into_iter().cloned().collect();
        assert_eq!(resolved(&claims), (least_certain, is_undecided));
    }
}
