//! The state of one object, apart by claim.
//!
//! A claim may turn out to be refused, even after later events of the same object
//! were taken. What an object's events say is therefore kept apart by claim, and
//! only the parts whose claim is not refused are merged into what the main app sees.
//! So nothing ever has to be undone.
//!
//! Metadata is a snapshot: the newest event of an account says which booking the object
//! names for it, also when it names none any more. That claim is active. The others were
//! taken back: they give the object no booking, and nobody has to judge them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AccountId, BookingId},
    merge::{Change, Merge},
    ownership::{Claim, ClaimStatus, Owners},
};

/// The most bookings that one object may name, one after the other. An invoice is of one
/// booking, and of another one after a mistake. Each event has all parts loaded, so without
/// a bound a host could slow down everybody. One that names more names none: whichever of
/// its events come first, and however many more there are.
pub const MAX_BOOKINGS: usize = 16;

/// What the events of one object say, apart by claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByClaim<T> {
    parts: BTreeMap<Claim, T>,
    names_too_many: bool,
}

impl<T> Default for ByClaim<T> {
    fn default() -> Self {
        Self {
            parts: BTreeMap::new(),
            names_too_many: false,
        }
    }
}

/// An object under the owners: its parts that are not refused, merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved<T> {
    /// The accepted parts; `None` where there is none.
    pub state: Option<T>,
    /// The booking that the newest of the active and accepted claims names.
    pub booking: Option<BookingId>,
    /// The least certain status among the claims of the parts.
    pub least_certain: ClaimStatus,
}

impl<T> ByClaim<T> {
    /// The state of one part.
    pub fn of(claim: Claim, part: T) -> Self {
        Self {
            parts: BTreeMap::from([(claim, part)]),
            names_too_many: false,
        }
    }

    /// The parts, in the order of their claims.
    pub fn parts(&self) -> impl Iterator<Item = (&Claim, &T)> {
        self.parts.iter()
    }

    /// The number of parts.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether no event was taken yet.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether the object named more than [`MAX_BOOKINGS`], and so names none.
    pub fn names_too_many(&self) -> bool {
        self.names_too_many
    }
}

impl<T: Merge + Clone> ByClaim<T> {
    /// The newest part of each account.
    fn newest(&self) -> BTreeMap<&AccountId, (&Claim, &T)> {
        let mut newest: BTreeMap<&AccountId, (&Claim, &T)> = BTreeMap::new();
        for (claim, part) in &self.parts {
            let entry = newest.entry(&claim.account).or_insert((claim, part));
            if part.latest().time() > entry.1.latest().time() {
                *entry = (claim, part);
            }
        }
        newest
    }

    /// Whether it ended such that it claims nothing.
    fn claims_nothing(&self) -> bool {
        match self.parts.len() {
            1 => self.parts.values().any(Merge::claims_nothing),
            _ => self.whole().is_some_and(|whole| whole.claims_nothing()),
        }
    }

    /// The claims that are active and name a booking.
    pub fn active(&self) -> Vec<(&Claim, BookingId)> {
        let names_one = self.parts.keys().any(|claim| claim.booking.is_some());
        if !names_one || self.claims_nothing() {
            return Vec::new();
        }
        let newest = self.newest().into_values();
        newest
            .filter_map(|(claim, _)| Some((claim, claim.booking?)))
            .collect()
    }

    /// The bookings that the newest event of each account names, also where the object claims
    /// none of them now.
    pub fn named_last(&self) -> Vec<BookingId> {
        let newest = self.newest().into_values();
        newest.filter_map(|(claim, _)| claim.booking).collect()
    }

    /// The status of the claim of a part. One that was taken back forbids nothing.
    pub fn status(&self, claim: &Claim, owners: &Owners) -> ClaimStatus {
        let is_active = self.active().iter().any(|(active, _)| *active == claim);
        match is_active {
            true => claim.status(owners),
            false => ClaimStatus::Accepted,
        }
    }

    /// Whether an active claim names a booking whose owner nobody knows yet.
    pub fn is_undecided(&self, owners: &Owners) -> bool {
        let is_undecided = |claim: &Claim| claim.status(owners) == ClaimStatus::Undecided;
        self.active().iter().any(|(claim, _)| is_undecided(claim))
    }

    /// The part of the newest event, with its claim.
    pub fn latest(&self) -> Option<(&Claim, &T)> {
        let parts = self.parts.iter();
        parts.max_by(|(_, a), (_, b)| a.latest().time().cmp(&b.latest().time()))
    }

    /// The part of the newest event whose claim is accepted, with its claim.
    pub fn latest_accepted(&self, owners: &Owners) -> Option<(&Claim, &T)> {
        let active = self.active();
        let is_accepted = |claim: &Claim| {
            let is_active = active.iter().any(|(active, _)| *active == claim);
            !is_active || claim.status(owners) == ClaimStatus::Accepted
        };
        self.parts
            .iter()
            .filter(|(claim, _)| is_accepted(claim))
            .max_by(|(_, a), (_, b)| a.latest().time().cmp(&b.latest().time()))
    }

    /// All parts merged, whatever their claims; `None` where there is none.
    pub fn whole(&self) -> Option<T> {
        let mut parts = self.parts.values();
        let mut whole = parts.next()?.clone();
        for part in parts {
            let _ = whole.merge(part.clone());
        }
        Some(whole)
    }

    /// Takes in what one event says under its claim.
    pub fn merge(&mut self, mut claim: Claim, part: T) -> Change {
        if self.names_too_many {
            claim.booking = None;
        }
        let change = merge_part(&mut self.parts, claim, part);
        let bookings: BTreeSet<BookingId> = match self.parts.len() > MAX_BOOKINGS {
            true => self
                .parts
                .keys()
                .filter_map(|claim| claim.booking)
                .collect(),
            false => BTreeSet::new(),
        };
        if bookings.len() <= MAX_BOOKINGS {
            return change;
        }
        self.names_too_many = true;
        for (mut claim, part) in std::mem::take(&mut self.parts) {
            claim.booking = None;
            let _ = merge_part(&mut self.parts, claim, part);
        }
        Change::Changed
    }

    /// The object under these owners.
    pub fn resolve(&self, owners: &Owners) -> Resolved<T> {
        let active = self.active();
        let newest = self.newest();
        let claims_nothing = active.is_empty();
        let mut resolved: Resolved<T> = Resolved {
            state: None,
            booking: None,
            least_certain: ClaimStatus::Accepted,
        };
        let mut named = None;
        for (claim, part) in &self.parts {
            let is_active = active.iter().any(|(active, _)| *active == claim);
            let status = match is_active {
                true => claim.status(owners),
                false => ClaimStatus::Accepted,
            };
            resolved.least_certain = resolved.least_certain.max(status);
            if status != ClaimStatus::Accepted {
                continue;
            }
            let is_newest = newest
                .get(&claim.account)
                .is_some_and(|(one, _)| *one == claim);
            let time = part.latest().time();
            if is_newest && !claims_nothing && named.is_none_or(|(known, _)| time > known) {
                named = Some((time, claim.booking));
            }
            match resolved.state.as_mut() {
                Some(state) => {
                    let _ = state.merge(part.clone());
                }
                None => resolved.state = Some(part.clone()),
            }
        }
        resolved.booking = named.and_then(|(_, booking)| booking);
        resolved
    }
}

fn merge_part<T: Merge>(parts: &mut BTreeMap<Claim, T>, claim: Claim, part: T) -> Change {
    match parts.get_mut(&claim) {
        Some(known) => known.merge(part),
        None => {
            parts.insert(claim, part);
            Change::Changed
        }
    }
}

/// A stored state: a list of pairs, since JSON has no maps with such keys; in an object
/// where too many bookings are named.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored<T> {
    Parts(Vec<(Claim, T)>),
    TooMany { too_many: Vec<(Claim, T)> },
}

impl<T: Serialize + Clone> Serialize for ByClaim<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parts = self.parts.iter();
        let parts = parts.map(|(claim, part)| (claim.clone(), part.clone()));
        let parts = parts.collect();
        match self.names_too_many {
            false => Stored::Parts(parts),
            true => Stored::TooMany { too_many: parts },
        }
        .serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByClaim<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (parts, names_too_many) = match Stored::deserialize(deserializer)? {
            Stored::Parts(parts) => (parts, false),
            Stored::TooMany { too_many } => (too_many, true),
        };
        Ok(Self {
            parts: parts.into_iter().collect(),
            names_too_many,
        })
    }
}
