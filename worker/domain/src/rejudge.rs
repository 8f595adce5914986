//! What the ledger has to say differently now. An event was judged by what was
//! known then; whose its booking is can turn out later.

use std::collections::BTreeMap;

use crate::{
    booking::{Booking, Claimant, FirstClaim, Kind, first_to_claim},
    claim::{BookingId, Claim, Owner, Owners, Standing},
    place::{Placed, Waiting, waits_for},
    world::World,
};

/// The events by which an account claims a booking for an object, and what has
/// to be said of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejudged<'a> {
    /// The kind of the object: nothing says that ids of two kinds differ.
    pub kind: Kind,
    /// The object.
    pub object: &'a str,
    /// The booking that they name.
    pub booking: BookingId,
    /// Their account; [`crate::claim::PLATFORM`] where they name none.
    pub account: &'a str,
    /// How they are judged now.
    pub judged: Judged,
}

/// How events whose claim is decided are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// The booking is another account's: they are dead.
    Refused,
    /// The booking is their account's.
    Accepted {
        /// What their object still waits for.
        waiting: Option<Waiting>,
    },
}

/// The claims of earlier events whose standing may have changed. `stored` are
/// the claims as they were before this set of events.
pub fn rejudged<'a>(
    world: &'a World,
    stored: &BTreeMap<BookingId, BTreeMap<Claimant, FirstClaim>>,
    placed: &BTreeMap<&str, Placed>,
    owners: &Owners,
) -> Vec<Rejudged<'a>> {
    let mut rejudged = Vec::new();
    for (id, booking) in &world.bookings {
        let Some(before) = stored.get(id) else {
            continue;
        };
        let has_changed = has_changed(booking, before);
        for claimant in booking.claims.keys() {
            let was_there = before.contains_key(claimant);
            if !was_there || !(has_changed || world.is_seen_again(claimant)) {
                continue;
            }
            // What is not at hand goes on being shown as it is, and is judged
            // when it is looked at.
            if !world.is_at_hand(claimant) {
                continue;
            }
            let claim = Claim {
                account: claimant.account.clone(),
                booking: Some(*id),
            };
            let judged = match claim.standing(owners) {
                Standing::Undecided => continue,
                Standing::Refused => Judged::Refused,
                Standing::Accepted => Judged::Accepted {
                    waiting: waits_for(placed, claimant.kind, &claimant.object),
                },
            };
            rejudged.push(Rejudged {
                kind: claimant.kind,
                object: &claimant.object,
                booking: *id,
                account: &claimant.account,
                judged,
            });
        }
    }
    rejudged
}

/// Whether the booking may be another account's than before. What the
/// deployment's query said before is not known.
fn has_changed(booking: &Booking, before: &BTreeMap<Claimant, FirstClaim>) -> bool {
    match &booking.decreed {
        Some(Owner::Unknown) => false,
        Some(Owner::Account(_)) => true,
        None => first_to_claim(before) != first_to_claim(&booking.claims),
    }
}
