//! Outcomes of earlier events that a decided claim changes.
//!
//! An event is decided by what is known then. Whose the booking is that it names can
//! turn out later: an earlier claim arrives, or the deployment's query knows the
//! booking at last.

use crate::{
    ids::{AccountId, BookingId, ObjectId},
    ownership::{Booking, Claim, ClaimStatus, Owner, Owners, first_to_claim},
    working_set::WorkingSet,
};

/// The events by which an account claims a booking for an object, and whether the
/// claim is accepted now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeChange<'a> {
    /// The object.
    pub object: &'a ObjectId,
    /// The booking that the events name.
    pub booking: BookingId,
    /// Their account.
    pub account: &'a AccountId,
    /// Whether the booking is their account's; else their events are dead.
    pub is_accepted: bool,
}

/// The claims of earlier events that may look different now.
pub fn outcome_changes<'a>(set: &'a WorkingSet, owners: &Owners) -> Vec<OutcomeChange<'a>> {
    let mut changes = Vec::new();
    for (id, booking) in set.bookings.iter() {
        let may_have_changed = may_have_changed(booking);
        for claimant in booking.claims_before().keys() {
            let is_in_question = may_have_changed || set.is_rechecked(&claimant.object);
            // Objects that were not loaded stay unchanged until the next recheck.
            if !is_in_question || !set.is_loaded(&claimant.object) {
                continue;
            }
            let claim = Claim {
                account: claimant.account.clone(),
                booking: Some(*id),
            };
            let is_accepted = match claim.status(owners) {
                ClaimStatus::Undecided => continue,
                ClaimStatus::Refused => false,
                ClaimStatus::Accepted => true,
            };
            changes.push(OutcomeChange {
                object: &claimant.object,
                booking: *id,
                account: &claimant.account,
                is_accepted,
            });
        }
    }
    changes
}

/// Whether the booking may be another account's than before. What the deployment's
/// query said before is not known.
fn may_have_changed(booking: &Booking) -> bool {
    match booking.configured_owner() {
        Some(Owner::Unknown) => false,
        Some(Owner::Account(_)) => true,
        None => first_to_claim(booking.claims_before()) != first_to_claim(booking.claims()),
    }
}
