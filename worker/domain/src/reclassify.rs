//! Outcomes of earlier events that a decided claim changes.
//!
//! An event is decided by what is known then. Whose the booking is that it names can
//! turn out later: an earlier claim arrives, a claim is taken back, or the deployment's
//! query knows the booking at last.

use std::collections::BTreeSet;

use crate::{
    by_claim::Naming,
    ids::{AccountId, BookingId, ObjectId},
    ownership::{Claim, ClaimKey, ClaimStatus, Owner},
    projection::Projection,
    working_set::WorkingSet,
};

/// The events by which an account claims a booking for an object, and whether the
/// claim is accepted now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeChange {
    /// The object.
    pub object: ObjectId,
    /// The booking that the events name.
    pub booking: BookingId,
    /// Their account.
    pub account: AccountId,
    /// Whether the booking is their account's; else their events are dead.
    pub is_accepted: bool,
}

/// A booking that may be another account's than before: what that means for the events of
/// every active claim on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerChange {
    /// The booking.
    pub booking: BookingId,
    /// Whose it is now.
    pub owner: AccountId,
}

/// What may look different now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reclassified {
    /// Claims of single objects.
    pub objects: Vec<OutcomeChange>,
    /// Bookings with another owner.
    pub owners: Vec<OwnerChange>,
}

impl Reclassified {
    /// Whether nothing looks different.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.owners.is_empty()
    }
}

/// The claims of earlier events that may look different now.
pub fn reclassified(set: &WorkingSet, projection: &Projection<'_>) -> Reclassified {
    let owners = owner_changes(set, projection).collect();
    let mut objects = Vec::new();
    for (object, naming) in set.namings() {
        let active = set.active(&object);
        for claim in naming.claims() {
            objects.extend(change(set, projection, &object, claim, &active));
        }
        if naming.gave_up_claims() {
            objects.extend(given_up(set, &object, naming, &active));
        }
    }
    Reclassified { objects, owners }
}

/// The bookings that are another account's than before the events, and those of which outcomes are
/// still to be written. What the deployment's query said before is not known.
fn owner_changes<'a>(
    set: &'a WorkingSet,
    projection: &'a Projection<'_>,
) -> impl Iterator<Item = OwnerChange> + 'a {
    let before = set.owners_before().into_iter().flatten();
    let changed = before
        .filter(|(id, was)| projection.holders.owners.get(id) != Some(*was))
        .map(|(id, _)| id);
    let rechecked = set.rechecked_owners();
    let others = changed.filter(|id| !rechecked.contains(id));
    rechecked.iter().chain(others).filter_map(|id| {
        let booking = set.bookings.get(id)?;
        let owner = match projection.holders.owners.get(id)? {
            Owner::Account(account) => account.clone(),
            Owner::Unknown => return None,
        };
        let booking = booking.configured_owner().is_none().then_some(*id)?;
        Some(OwnerChange { booking, owner })
    })
}

fn change(
    set: &WorkingSet,
    projection: &Projection<'_>,
    object: &ObjectId,
    claim: &Claim,
    active: &BTreeSet<(AccountId, BookingId)>,
) -> Option<OutcomeChange> {
    let booking = claim.booking?;
    let key = (claim.account.clone(), booking);
    let is_active = active.contains(&key);
    // The claims of an object that is not in hand are as they were.
    let was_active = match set.claims.get(object) {
        Some(claims) => claims.was_active(&key),
        None => Some(is_active),
    };
    // Of a new claim there are no earlier events.
    let was_active = was_active?;
    let known = set.bookings.get(&booking);
    // What the deployment's query said before is not known.
    let is_configured = known.is_some_and(|known| known.configured_owner().is_some());
    let is_in_question =
        set.is_rechecked(object) || was_active != is_active || (is_configured && is_active);
    let status = match is_active {
        true => claim.status(&projection.holders.owners),
        false => ClaimStatus::Accepted,
    };
    let is_accepted = match status {
        _ if !is_in_question => return None,
        ClaimStatus::Undecided => return None,
        ClaimStatus::Refused => false,
        ClaimStatus::Accepted => true,
    };
    let (account, booking) = key;
    Some(OutcomeChange {
        object: object.clone(),
        booking,
        account,
        is_accepted,
    })
}

/// The claims that an object gave up: it names too many bookings, or another claim is proof.
fn given_up(
    set: &WorkingSet,
    object: &ObjectId,
    naming: &dyn Naming,
    active: &BTreeSet<(AccountId, BookingId)>,
) -> Vec<OutcomeChange> {
    let Some(claims) = set.claims.get(object) else {
        return Vec::new();
    };
    let is_of_a_part = |(account, booking): &ClaimKey| {
        let mut parts = naming.claims().into_iter();
        parts.any(|claim| claim.account == *account && claim.booking == Some(*booking))
    };
    let changed = claims.changed(active).into_iter();
    changed
        .filter(|(key, _)| claims.was_active(key) == Some(true) && !is_of_a_part(key))
        .map(|((account, booking), _)| OutcomeChange {
            object: object.clone(),
            booking: *booking,
            account: account.clone(),
            is_accepted: true,
        })
        .collect()
}
