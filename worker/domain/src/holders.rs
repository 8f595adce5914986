//! Who has each booking of a working set: whose it is, by which claim, and which of the
//! owner's objects count.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    ids::{AccountId, BookingId, ObjectId},
    objects::Objects,
    ownership::{Claimed, MAX_OBJECTS, Owner, Owners},
    source::Booking,
};

/// The active claims of the objects in hand, by booking.
pub(crate) type InHand = BTreeMap<BookingId, Vec<Claimed>>;
/// The first active claims of each booking and account, but for those of the objects in hand.
pub(crate) type Claimants = Objects<(BookingId, AccountId), Vec<Claimed>>;

/// Who has each booking.
#[derive(Debug, Default)]
pub struct Holders {
    /// Whose each booking is.
    pub owners: Owners,
    /// The claim that has each booking: the earliest one that is active. Where the
    /// deployment's own query decides, the earliest of the account that it names.
    pub first: BTreeMap<BookingId, Claimed>,
    /// The objects that count for bookings that may have more than [`MAX_OBJECTS`].
    counted: BTreeMap<BookingId, BTreeSet<ObjectId>>,
}

/// Whose each booking is: as the deployment's own query says, else the account of the
/// earliest claim.
pub(crate) fn owners(bookings: &Objects<BookingId, Booking>, in_hand: &InHand) -> Owners {
    let owned = bookings
        .iter()
        .filter_map(|(id, booking)| Some((*id, owner(*id, booking, in_hand)?)));
    owned.collect()
}

/// Whose the booking is.
pub(crate) fn owner(id: BookingId, booking: &Booking, in_hand: &InHand) -> Option<Owner> {
    let in_hand = in_hand.get(&id).into_iter().flatten();
    let first = || in_hand.chain(&booking.first_elsewhere).min();
    let of_first = || first().map(|claim| Owner::Account(claim.by.account.clone()));
    booking.configured_owner().cloned().or_else(of_first)
}

impl Holders {
    pub(crate) fn of(
        bookings: &Objects<BookingId, Booking>,
        claimants: &Claimants,
        in_hand: &InHand,
    ) -> Self {
        let mut holders = Self {
            owners: owners(bookings, in_hand),
            ..Self::default()
        };
        for (id, booking) in bookings.iter() {
            let Some(Owner::Account(account)) = holders.owners.get(id) else {
                continue;
            };
            let elsewhere = claimants.get(&(*id, account.clone()));
            let elsewhere = elsewhere.into_iter().flatten();
            let in_hand = in_hand.get(id).into_iter().flatten();
            let claims = in_hand.chain(elsewhere).chain(&booking.first_elsewhere);
            let mut claims: Vec<&Claimed> = claims
                .filter(|claim| claim.by.account == *account)
                .collect();
            claims.sort_unstable();
            claims.dedup();
            if let Some(first) = claims.first() {
                holders.first.insert(*id, (*first).clone());
            }
            // With fewer, every object of the owner's is among them.
            if claims.len() >= MAX_OBJECTS {
                let counted = claims.iter().take(MAX_OBJECTS);
                let counted = counted.map(|claim| claim.by.object.clone());
                holders.counted.insert(*id, counted.collect());
            }
        }
        holders
    }

    /// Whether the owner's object does not count for the booking, because [`MAX_OBJECTS`]
    /// others named it before.
    pub fn is_crowded_out(&self, object: &ObjectId, booking: BookingId) -> bool {
        let counted = self.counted.get(&booking);
        counted.is_some_and(|counted| !counted.contains(object))
    }
}
