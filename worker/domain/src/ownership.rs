//! Whose a booking is: who claims it, and how a claim looks under its owner.
//!
//! A Standard host can write metadata, so an event that names a booking is only a
//! claim. The deployment's own query decides where there is one; else the claim of
//! the earliest event does, whatever the order of arrival.

use std::{cmp::Ordering, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AccountId, BookingId, ObjectId},
    main_app::AppBooking,
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
            None => ClaimStatus::Accepted,
            Some(Some(Owner::Account(account))) if *account == self.account => {
                ClaimStatus::Accepted
            }
            Some(Some(Owner::Account(_))) => ClaimStatus::Refused,
            Some(Some(Owner::Unknown) | None) => ClaimStatus::Undecided,
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

/// The claims on one booking, each by its first event.
pub type Claims = BTreeMap<Claimant, FirstClaim>;

/// The most objects by which one account may claim one booking. A booking has a
/// session and an invoice, and a few more after failed tries. Each event of the
/// booking has all of them loaded, so without a bound a host could slow down
/// everybody by naming one booking over and over.
pub const MAX_CLAIMS: usize = 100;

/// The account of the earliest claim.
pub fn first_to_claim(claims: &Claims) -> Option<&AccountId> {
    let first = claims.iter().min_by_key(|(_, first)| *first);
    first.map(|(claimant, _)| &claimant.account)
}

/// The account has named the booking in [`MAX_CLAIMS`] other objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyClaims;

/// What is known of one booking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Booking {
    /// What the main app's tables say of it; `None` until they are read.
    pub app: Option<AppBooking>,
    claims: Claims,
    /// The claims as they were loaded, once one was added or became earlier.
    loaded_claims: Option<Claims>,
}

impl Booking {
    /// A booking with the claims that are known of it.
    pub fn with_claims(claims: Claims) -> Self {
        Self {
            claims,
            ..Self::default()
        }
    }

    /// Who claims the booking.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Who claimed it before this batch.
    pub fn claims_before(&self) -> &Claims {
        self.loaded_claims.as_ref().unwrap_or(&self.claims)
    }

    /// The claims that this batch added, or of which it found an earlier event.
    pub fn changed_claims(&self) -> impl Iterator<Item = (&Claimant, &FirstClaim)> {
        self.loaded_claims.iter().flat_map(|before| {
            let claims = self.claims.iter();
            claims.filter(|(claimant, first)| before.get(*claimant) != Some(*first))
        })
    }

    /// Whose the booking is: as the deployment's query says, else the account of the
    /// earliest claim.
    pub fn owner(&self) -> Option<Owner> {
        let first = || Some(Owner::Account(first_to_claim(&self.claims)?.clone()));
        self.configured_owner().cloned().or_else(first)
    }

    /// Whose the booking is by the deployment's own query, where there is one.
    pub fn configured_owner(&self) -> Option<&Owner> {
        self.app.as_ref()?.configured_owner.as_ref()
    }

    /// Takes in a claim.
    ///
    /// # Errors
    /// [`TooManyClaims`]; nothing was taken in.
    pub fn claim(&mut self, by: Claimant, first: FirstClaim) -> Result<Change, TooManyClaims> {
        match self.claims.get(&by) {
            Some(known) if *known <= first => return Ok(Change::Unchanged),
            None if self.is_full_for(&by.account) => return Err(TooManyClaims),
            Some(_) | None => {}
        }
        self.loaded_claims
            .get_or_insert_with(|| self.claims.clone());
        self.claims.insert(by, first);
        Ok(Change::Changed)
    }

    fn is_full_for(&self, account: &AccountId) -> bool {
        let of_account = self.claims.keys().filter(|one| one.account == *account);
        of_account.count() >= MAX_CLAIMS
    }
}
