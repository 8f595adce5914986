//! Whose a booking is: who claims it, and how a claim looks under its owner.
//!
//! A Standard host can write metadata, so an event that names a booking is only a
//! claim. The deployment's own query decides where there is one; else the claim of
//! the earliest event does, whatever the order of arrival.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AccountId, BookingId, ObjectId},
    merge::{Change, earliest},
};

/// Which account says that an object is of which booking.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    /// The event's account.
    pub account: AccountId,
    /// The booking; `None` where the event names none.
    pub booking: Option<BookingId>,
}

/// Whose a booking is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This account's.
    Account(AccountId),
    /// The deployment's query does not know the booking yet.
    Unknown,
}

/// The owners of the bookings of a working set.
pub type Owners = BTreeMap<BookingId, Owner>;

/// How a claim looks under the owners, from certain to uncertain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClaimStatus {
    /// No booking is named, or the account has it.
    Accepted,
    /// Nobody knows yet whose booking it is.
    Undecided,
    /// The booking is another account's.
    Refused,
}

impl Claim {
    /// How the claim looks under these owners.
    pub fn status(&self, owners: &Owners) -> ClaimStatus {
        match self.booking.map(|booking| owners.get(&booking)) {
            // Nobody claims it any more.
            None | Some(None) => ClaimStatus::Accepted,
            Some(Some(Owner::Account(account))) if *account == self.account => {
                ClaimStatus::Accepted
            }
            Some(Some(Owner::Account(_))) => ClaimStatus::Refused,
            Some(Some(Owner::Unknown)) => ClaimStatus::Undecided,
        }
    }
}

/// The first event by which an account claims a booking for an object.
///
/// Its order is the order of precedence: `created`, then id. An event that does
/// not say when it happened comes after all that do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstClaim {
    /// The event's `created`, in Unix seconds.
    pub created: i64,
    /// The event's id.
    pub event_id: String,
}

impl Ord for FirstClaim {
    fn cmp(&self, other: &Self) -> Ordering {
        earliest(self.created)
            .cmp(&earliest(other.created))
            .then_with(|| self.event_id.cmp(&other.event_id))
    }
}

impl PartialOrd for FirstClaim {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// An account and the object by which it claims a booking.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claimant {
    /// The event's account.
    pub account: AccountId,
    /// The object.
    pub object: ObjectId,
}

/// A claim with its first event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claimed {
    /// The first event. It decides the order of claims, so it comes first.
    pub first: FirstClaim,
    /// Who claims.
    pub by: Claimant,
}

/// The most objects by which a booking's owner may name it. A booking has a session and an
/// invoice, and a few more after failed tries or with instalments. Each event of the booking
/// has all of them loaded, so without a bound a host could slow down everybody. The first
/// ones by their first events count, in whichever order they come.
pub const MAX_OBJECTS: usize = 50;

/// A claim as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredClaim {
    /// The first event.
    pub first: FirstClaim,
    /// Whether it is active: see [`crate::by_claim`].
    pub is_active: bool,
}

/// The account and the booking of a claim.
pub type ClaimKey = (AccountId, BookingId);

/// The claims of one object, each by its first event, also those that were taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectClaims {
    stored: BTreeMap<ClaimKey, StoredClaim>,
    merged: BTreeMap<ClaimKey, FirstClaim>,
}

impl ObjectClaims {
    /// The claims that are kept of an object.
    pub fn new(stored: BTreeMap<ClaimKey, StoredClaim>) -> Self {
        let merged = stored.iter();
        let merged = merged.map(|(key, claim)| (key.clone(), claim.first.clone()));
        Self {
            merged: merged.collect(),
            stored,
        }
    }

    /// Takes in that an event claims.
    pub fn merge(&mut self, key: ClaimKey, first: FirstClaim) -> Change {
        match self.merged.get(&key) {
            Some(known) if *known <= first => Change::Unchanged,
            Some(_) | None => {
                self.merged.insert(key, first);
                Change::Changed
            }
        }
    }

    /// How many claims there are.
    pub fn len(&self) -> usize {
        self.merged.len()
    }

    /// Whether there is no claim.
    pub fn is_empty(&self) -> bool {
        self.merged.is_empty()
    }

    /// The first event of a claim.
    pub fn first(&self, key: &ClaimKey) -> Option<&FirstClaim> {
        self.merged.get(key)
    }

    /// Whether the claim was active before; `None` where it is new.
    pub fn was_active(&self, key: &ClaimKey) -> Option<bool> {
        self.stored.get(key).map(|claim| claim.is_active)
    }

    /// The claims that have to be kept otherwise than they are, of which those in `active`
    /// are active.
    pub fn changed(&self, active: &BTreeSet<ClaimKey>) -> Vec<(&ClaimKey, StoredClaim)> {
        let claims = self.merged.iter().map(|(key, first)| {
            let claim = StoredClaim {
                first: first.clone(),
                is_active: active.contains(key),
            };
            (key, claim)
        });
        claims
            .filter(|(key, claim)| self.stored.get(*key) != Some(claim))
            .collect()
    }
}
