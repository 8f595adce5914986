//! A booking and who claims it: whose it is.

use std::{cmp::Ordering, collections::BTreeMap};

use crate::{claim::Owner, version::earliest};

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
    pub account: String,
    /// The kind of the object.
    pub kind: Kind,
    /// The object's id.
    pub object: String,
}

/// The kinds of object that can claim a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An invoice, by its metadata.
    Invoice,
    /// A Checkout Session, by its metadata or `client_reference_id`.
    Session,
}

/// The most objects by which one account may claim one booking. A booking has a
/// session and an invoice, and a few more after failed tries; all of them are
/// looked at for each event, so that a host could slow down everybody by naming
/// one booking over and over.
pub const MAX_CLAIMS: usize = 100;

/// The account of the earliest claim.
pub fn first_to_claim(claims: &BTreeMap<Claimant, FirstClaim>) -> Option<&str> {
    let first = claims.iter().min_by_key(|(_, first)| *first);
    first.map(|(claimant, _)| claimant.account.as_str())
}

/// What the store knows of one booking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Booking {
    /// Whether the main app has the booking.
    pub exists: bool,
    /// Who claims it, each by its first event.
    pub claims: BTreeMap<Claimant, FirstClaim>,
    /// Whose it is by the deployment's own query, where there is one.
    pub decreed: Option<Owner>,
}

impl Booking {
    /// Whose the booking is: as the deployment's query says, else the account
    /// of the earliest claim.
    pub fn owner(&self) -> Option<Owner> {
        let claimed = || Some(Owner::Account(first_to_claim(&self.claims)?.to_owned()));
        self.decreed.clone().or_else(claimed)
    }

    /// Whether the account has claimed the booking as often as it may.
    pub(crate) fn is_full(&self, claimant: &Claimant) -> bool {
        let of_account = |known: &&Claimant| known.account == claimant.account;
        !self.claims.contains_key(claimant)
            && self.claims.keys().filter(of_account).count() >= MAX_CLAIMS
    }
}
