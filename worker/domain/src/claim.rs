//! Claims: which account says that an object is of which booking.
//!
//! A Standard host can write metadata, so an event that names a booking is a
//! claim that may turn out to be refused, even after later events of the same
//! object were taken. What an object's events say is therefore kept apart by
//! claim, and only the parts whose claim stands are joined to what is shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::version::{Change, Version};

/// The booking's id in the main app: a positive 32-bit integer.
pub type BookingId = i32;

/// The account of events that name none: the platform itself.
pub const PLATFORM: &str = "";

/// Who says that an object is of which booking.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    /// The event's account; [`PLATFORM`] where it names none.
    pub account: String,
    /// The booking; `None` where the event names none.
    pub booking: Option<BookingId>,
}

/// What can be joined with more of the same.
pub trait Join {
    /// Takes in `other`.
    fn join(&mut self, other: Self) -> Change;
    /// The greatest version taken in.
    fn version(&self) -> &Version;
}

/// What the events of one object say, apart by claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed<T>(BTreeMap<Claim, T>);

impl<T> Default for Claimed<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

/// How ownership looks at one booking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This account has it.
    Account(String),
    /// The deployment's owner query does not know the booking.
    Unknown,
}

/// The owners of the bookings at hand.
pub type Owners = BTreeMap<BookingId, Owner>;

/// How a claim looks under the owners at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No booking is named, or the account has it.
    Accepted,
    /// Nobody knows yet whose booking it is.
    Undecided,
    /// The booking is another account's.
    Refused,
}

impl Claim {
    /// How the claim stands.
    pub fn standing(&self, owners: &Owners) -> Standing {
        match self.booking.map(|booking| owners.get(&booking)) {
            None => Standing::Accepted,
            Some(Some(Owner::Account(account))) if *account == self.account => Standing::Accepted,
            Some(Some(Owner::Account(_))) => Standing::Refused,
            Some(Some(Owner::Unknown) | None) => Standing::Undecided,
        }
    }
}

/// What is shown of an object: its accepted parts, joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved<T> {
    /// The accepted parts; `None` where there is none.
    pub state: Option<T>,
    /// The booking that the latest accepted part names.
    pub booking: Option<BookingId>,
    /// The worst standing among the parts that name a booking.
    pub worst: Standing,
}

impl<T: Join + Clone> Claimed<T> {
    /// The state whose columns show all of it: one part.
    pub fn of(claim: Claim, part: T) -> Self {
        Self(BTreeMap::from([(claim, part)]))
    }

    /// The parts, in the order of their claims.
    pub fn parts(&self) -> impl Iterator<Item = (&Claim, &T)> {
        self.0.iter()
    }

    /// The number of parts.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was said yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bookings that the parts name.
    pub fn bookings(&self) -> impl Iterator<Item = BookingId> + '_ {
        self.0.keys().filter_map(|claim| claim.booking)
    }

    /// The part with the greatest version, with its claim.
    pub fn latest(&self) -> Option<(&Claim, &T)> {
        self.0
            .iter()
            .max_by(|(_, a), (_, b)| a.version().cmp(b.version()))
    }

    /// Takes in what one event says under its claim.
    pub fn join(&mut self, claim: Claim, part: T) -> Change {
        match self.0.get_mut(&claim) {
            Some(known) => known.join(part),
            None => {
                self.0.insert(claim, part);
                Change::Changed
            }
        }
    }

    /// What is shown under the owners at hand.
    pub fn resolve(&self, owners: &Owners) -> Resolved<T> {
        let mut shown: Resolved<T> = Resolved {
            state: None,
            booking: None,
            worst: Standing::Accepted,
        };
        let mut named: Option<(&Version, BookingId)> = None;
        for (claim, part) in &self.0 {
            match claim.standing(owners) {
                Standing::Accepted => {
                    if let Some(booking) = claim.booking
                        && named.is_none_or(|(version, _)| part.version() > version)
                    {
                        named = Some((part.version(), booking));
                    }
                    match shown.state.as_mut() {
                        Some(state) => {
                            let _ = state.join(part.clone());
                        }
                        None => shown.state = Some(part.clone()),
                    }
                }
                Standing::Undecided if shown.worst == Standing::Accepted => {
                    shown.worst = Standing::Undecided;
                }
                Standing::Undecided => {}
                Standing::Refused => shown.worst = Standing::Refused,
            }
        }
        shown.booking = named.map(|(_, booking)| booking);
        shown
    }
}

impl<T: Serialize> Serialize for Claimed<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Claimed<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parts: Vec<(Claim, T)> = Vec::deserialize(deserializer)?;
        Ok(Self(parts.into_iter().collect()))
    }
}
