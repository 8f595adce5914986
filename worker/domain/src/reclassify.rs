//! Outcomes of earlier events that a decided claim changes.
//!
//! An event is decided by what is known then. Whose the booking is that it names can
//! turn out later: an earlier claim arrives, a claim is taken back, or the deployment's
//! query knows the booking at last.

use std::collections::BTreeSet;

use crate::{
    ids::{AccountId, BookingId, ObjectId},
    ownership::{Claim, ClaimStatus, Owner},
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
    let mut reclassified = Reclassified::default();
    let before = set.owners_before();
    for (id, booking) in set.bookings.iter() {
        // What the deployment's query said before is not known.
        if booking.configured_owner().is_some() {
            continue;
        }
        if let (Some(was), Some(Owner::Account(is))) = (before.get(id), projection.owners.get(id))
            && *was != Owner::Account(is.clone())
        {
            let (booking, owner) = (*id, is.clone());
            reclassified.owners.push(OwnerChange { booking, owner });
        }
    }
    let invoices = set.invoices.iter();
    let invoices = invoices.map(|(id, known)| {
        let claims = known.by_claim.parts().map(|(claim, _)| claim);
        (ObjectId::Invoice(id.clone()), claims.collect::<Vec<_>>())
    });
    let sessions = set.checkout_sessions.iter();
    let sessions = sessions.map(|(id, known)| {
        let claims = known.by_claim.parts().map(|(claim, _)| claim);
        let id = ObjectId::CheckoutSession(id.clone());
        (id, claims.collect::<Vec<_>>())
    });
    for (object, claims) in invoices.chain(sessions) {
        let active = set.active(&object);
        for claim in claims {
            let change = change(set, projection, &object, claim, &active);
            reclassified.objects.extend(change);
        }
        reclassified.objects.extend(given_up(set, &object, &active));
    }
    reclassified
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
        true => claim.status(&projection.owners),
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

/// The claims that an object gave up because it names too many bookings.
fn given_up(
    set: &WorkingSet,
    object: &ObjectId,
    active: &BTreeSet<(AccountId, BookingId)>,
) -> Vec<OutcomeChange> {
    let Some(claims) = set
        .claims
        .get(object)
        .filter(|_| set.names_too_many(object))
    else {
        return Vec::new();
    };
    let changed = claims.changed(active).into_iter();
    changed
        .filter(|(key, _)| claims.was_active(key) == Some(true))
        .map(|((account, booking), _)| OutcomeChange {
            object: object.clone(),
            booking: *booking,
            account: account.clone(),
            is_accepted: true,
        })
        .collect()
}
