//! The state of one object, apart by claim.
//!
//! A claim may turn out to be refused, even after later events of the same object
//! were taken. What an object's events say is therefore kept apart by claim, and
//! only the parts whose claim is accepted are merged into what the main app sees.
//! So nothing ever has to be undone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    ids::BookingId,
    merge::{Change, EventOrder, Merge},
    ownership::{Claim, ClaimStatus, Owners},
};

/// What the events of one object say, apart by claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByClaim<T>(BTreeMap<Claim, T>);

impl<T> Default for ByClaim<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

/// An object under the owners: its accepted parts, merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved<T> {
    /// The accepted parts; `None` where there is none.
    pub state: Option<T>,
    /// The booking that the latest accepted part names.
    pub booking: Option<BookingId>,
    /// The least certain status among the claims of the parts.
    pub least_certain: ClaimStatus,
}

impl<T> ByClaim<T> {
    /// The state of one part.
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

    /// Whether no event was taken yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bookings that the parts name.
    pub fn bookings(&self) -> impl Iterator<Item = BookingId> + '_ {
        self.0.keys().filter_map(|claim| claim.booking)
    }

    /// Whether a part names a booking whose owner nobody knows yet.
    pub fn is_undecided(&self, owners: &Owners) -> bool {
        let is_undecided = |claim: &Claim| claim.status(owners) == ClaimStatus::Undecided;
        self.0.keys().any(is_undecided)
    }
}

impl<T: Merge + Clone> ByClaim<T> {
    /// The part with the greatest order, with its claim.
    pub fn latest(&self) -> Option<(&Claim, &T)> {
        self.0
            .iter()
            .max_by(|(_, a), (_, b)| a.order().cmp(b.order()))
    }

    /// The latest of the parts whose claim is accepted, with its claim.
    pub fn latest_accepted(&self, owners: &Owners) -> Option<(&Claim, &T)> {
        self.0
            .iter()
            .filter(|(claim, _)| claim.status(owners) == ClaimStatus::Accepted)
            .max_by(|(_, a), (_, b)| a.order().cmp(b.order()))
    }

    /// All parts merged, whatever their claims; `None` where there is none.
    pub fn whole(&self) -> Option<T> {
        let mut parts = self.0.values();
        let mut whole = parts.next()?.clone();
        for part in parts {
            let _ = whole.merge(part.clone());
        }
        Some(whole)
    }

    /// Takes in what one event says under its claim.
    pub fn merge(&mut self, claim: Claim, part: T) -> Change {
        match self.0.get_mut(&claim) {
            Some(known) => known.merge(part),
            None => {
                self.0.insert(claim, part);
                Change::Changed
            }
        }
    }

    /// The object under these owners.
    pub fn resolve(&self, owners: &Owners) -> Resolved<T> {
        let mut resolved: Resolved<T> = Resolved {
            state: None,
            booking: None,
            least_certain: ClaimStatus::Accepted,
        };
        let mut named: Option<(&EventOrder, BookingId)> = None;
        for (claim, part) in &self.0 {
            let status = claim.status(owners);
            resolved.least_certain = resolved.least_certain.max(status);
            if status != ClaimStatus::Accepted {
                continue;
            }
            if let Some(booking) = claim.booking
                && named.is_none_or(|(order, _)| part.order() > order)
            {
                named = Some((part.order(), booking));
            }
            match resolved.state.as_mut() {
                Some(state) => {
                    let _ = state.merge(part.clone());
                }
                None => resolved.state = Some(part.clone()),
            }
        }
        resolved.booking = named.map(|(_, booking)| booking);
        resolved
    }
}

// As a list of pairs: JSON has no maps with such keys.
impl<T: Serialize> Serialize for ByClaim<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByClaim<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parts: Vec<(Claim, T)> = Vec::deserialize(deserializer)?;
        Ok(Self(parts.into_iter().collect()))
    }
}
