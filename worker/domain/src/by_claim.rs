//! The state of one object, apart by claim.
//!
//! A claim may turn out to be refused, even after later events of the same object
//! were taken. What an object's events say is therefore kept apart by claim, and
//! only the parts whose claim is not refused are merged into what the main app sees.
//! So nothing ever has to be undone.
//!
//! Metadata is a snapshot: the newest event of an account says which booking the object
//! names for it, also when it names none any more. That claim is active. The others were
//! taken back: they give the object no booking, and nobody has to decide them.
//!
//! A claim can be proof: that of a session which a command made. All that the account's events
//! say of the object is kept under it then, whatever booking they name.

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
pub struct Resolved<'a, T> {
    /// The accepted parts; `None` where there is none.
    pub state: Option<T>,
    /// The claim of the newest accepted part.
    pub latest: Option<&'a Claim>,
    /// The booking that the newest of the active and accepted claims names.
    pub booking: Option<BookingId>,
    /// The least certain status among the claims of the parts.
    pub least_certain: ClaimStatus,
    /// Whether an active claim names a booking whose owner nobody knows yet.
    pub is_undecided: bool,
}

/// What an object says of bookings, whatever its kind.
pub trait Naming {
    /// The claims of its parts, also those that were taken back.
    fn claims(&self) -> Vec<&Claim>;
    /// The claims that are active. Each names a booking.
    fn active(&self) -> Vec<&Claim>;
    /// Whether the object named more than [`MAX_BOOKINGS`], and so names none.
    fn names_too_many(&self) -> bool;
    /// The claim of the account that is proof, where one is.
    fn proof_of(&self, account: &AccountId) -> Option<&Claim>;
    /// Whether claims that events made are no part's any more.
    fn gave_up_claims(&self) -> bool;
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
    pub fn parts(&self) -> impl Iterator<Item = (&Claim, &T)> + Clone {
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
}

impl<T: Merge + Clone> Naming for ByClaim<T> {
    fn claims(&self) -> Vec<&Claim> {
        self.parts.keys().collect()
    }

    fn active(&self) -> Vec<&Claim> {
        // Nearly all objects have one part.
        if let Some((claim, part)) = self.only_part() {
            let is_active = claim.booking.is_some() && !part.claims_nothing();
            return is_active.then_some(claim).into_iter().collect();
        }
        let names_one = self.parts.keys().any(|claim| claim.booking.is_some());
        if !names_one || self.claims_nothing() {
            return Vec::new();
        }
        let newest = self.newest().into_values().map(|(claim, _)| claim);
        newest.filter(|claim| claim.booking.is_some()).collect()
    }

    fn names_too_many(&self) -> bool {
        self.names_too_many
    }

    fn proof_of(&self, account: &AccountId) -> Option<&Claim> {
        self.proofs().find(|claim| claim.account == *account)
    }

    fn gave_up_claims(&self) -> bool {
        self.names_too_many || self.proofs().next().is_some()
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

    /// The part, where there is one.
    fn only_part(&self) -> Option<(&Claim, &T)> {
        let is_one = self.parts.len() == 1;
        is_one.then(|| self.parts.first_key_value()).flatten()
    }

    /// Whether it ended such that it claims nothing.
    fn claims_nothing(&self) -> bool {
        self.whole().is_some_and(|whole| whole.claims_nothing())
    }

    /// Whether one event gave all that is known, so that plain columns can hold it whole.
    pub fn is_of_one_event(&self) -> bool {
        let mut parts = self.parts.values();
        let is_one = self.parts.len() == 1 && !self.names_too_many;
        is_one && parts.all(Merge::is_of_one_event)
    }

    /// The bookings that the newest event of each account names, also where the object claims
    /// none of them now.
    pub fn named_last(&self) -> Vec<BookingId> {
        if let Some((claim, _)) = self.only_part() {
            return claim.booking.into_iter().collect();
        }
        let newest = self.newest().into_values();
        newest.filter_map(|(claim, _)| claim.booking).collect()
    }

    /// Whether an active claim names a booking whose owner nobody knows yet.
    pub fn is_undecided(&self, owners: &Owners) -> bool {
        let is_undecided = |claim: &Claim| claim.status(owners) == ClaimStatus::Undecided;
        self.active().into_iter().any(is_undecided)
    }

    /// The part of the newest event, with its claim.
    pub fn latest(&self) -> Option<(&Claim, &T)> {
        let parts = self.parts.iter();
        parts.max_by(|(_, a), (_, b)| a.latest().time().cmp(&b.latest().time()))
    }

    /// All parts merged, whatever their claims; `None` where there is none.
    pub fn whole(&self) -> Option<T> {
        merged(self.parts.values())
    }

    /// The claims that are proof, at most one of an account.
    pub fn proofs(&self) -> impl Iterator<Item = &Claim> {
        let proofs = self.parts.iter();
        proofs
            .filter(|(_, part)| part.proves_its_claim())
            .map(|(claim, _)| claim)
    }

    /// All that events of the account say, merged; `None` where there is none of it.
    pub fn of_account(&self, account: &AccountId) -> Option<T> {
        let parts = self.parts.iter();
        let parts = parts.filter(|(claim, _)| claim.account == *account);
        merged(parts.map(|(_, part)| part))
    }

    /// Keeps all that events of the account say under the claim that is proof.
    fn gather_under_proof(&mut self, account: &AccountId) {
        let Some(proof) = self.proof_of(account).cloned() else {
            return;
        };
        let others = self.parts.keys().filter(|claim| claim.account == *account);
        let others: Vec<Claim> = others.filter(|claim| **claim != proof).cloned().collect();
        for claim in others {
            if let Some(part) = self.parts.remove(&claim) {
                let _ = merge_part(&mut self.parts, proof.clone(), part);
            }
        }
        // Only what other accounts name still counts as too many, and is counted below.
        self.names_too_many = false;
    }

    /// Takes in what one event says under its claim.
    pub fn merge(&mut self, mut claim: Claim, part: T) -> Change {
        let proof_for = part.proves_its_claim().then(|| claim.account.clone());
        if proof_for.is_none() {
            match self.proof_of(&claim.account) {
                Some(proof) => claim = proof.clone(),
                None if self.names_too_many => claim.booking = None,
                None => {}
            }
        }
        let change = merge_part(&mut self.parts, claim, part);
        if let Some(account) = proof_for {
            self.gather_under_proof(&account);
        }
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
            if !part.proves_its_claim() {
                claim.booking = None;
            }
            let _ = merge_part(&mut self.parts, claim, part);
        }
        Change::Changed
    }

    /// The object under these owners.
    pub fn resolve(&self, owners: &Owners) -> Resolved<'_, T> {
        let (active, newest) = (self.active(), self.newest());
        let mut resolved = Resolved {
            state: None::<T>,
            latest: None,
            booking: None,
            least_certain: ClaimStatus::Accepted,
            is_undecided: false,
        };
        let (mut latest, mut named) = (None, None);
        for (claim, part) in &self.parts {
            // A claim that was taken back forbids nothing.
            let status = match active.contains(&claim) {
                true => claim.status(owners),
                false => ClaimStatus::Accepted,
            };
            resolved.least_certain = resolved.least_certain.max(status);
            resolved.is_undecided |= status == ClaimStatus::Undecided;
            if status != ClaimStatus::Accepted {
                continue;
            }
            let time = part.latest().time();
            if latest.is_none_or(|known| time >= known) {
                latest = Some(time);
                resolved.latest = Some(claim);
            }
            let is_newest = newest
                .get(&claim.account)
                .is_some_and(|(one, _)| *one == claim);
            if is_newest && !active.is_empty() && named.is_none_or(|known| time > known) {
                named = Some(time);
                resolved.booking = claim.booking;
            }
            match resolved.state.as_mut() {
                Some(state) => {
                    let _ = state.merge(part.clone());
                }
                None => resolved.state = Some(part.clone()),
            }
        }
        resolved
    }
}

/// Parts merged; `None` where there is none.
fn merged<'a, T: Merge + Clone + 'a>(mut parts: impl Iterator<Item = &'a T>) -> Option<T> {
    let mut whole = parts.next()?.clone();
    for part in parts {
        let _ = whole.merge(part.clone());
    }
    Some(whole)
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
enum Stored<P> {
    Parts(P),
    TooMany { too_many: P },
}

impl<T: Serialize> Serialize for ByClaim<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parts: Vec<(&Claim, &T)> = self.parts.iter().collect();
        match self.names_too_many {
            false => Stored::Parts(parts),
            true => Stored::TooMany { too_many: parts },
        }
        .serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByClaim<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (parts, names_too_many): (Vec<(Claim, T)>, bool) =
            match Stored::deserialize(deserializer)? {
                Stored::Parts(parts) => (parts, false),
                Stored::TooMany { too_many } => (too_many, true),
            };
        Ok(Self {
            parts: parts.into_iter().collect(),
            names_too_many,
        })
    }
}
