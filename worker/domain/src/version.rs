//! Which of two events speaks last.
//!
//! Stripe delivers in any order, so nothing here depends on arrival. A value is
//! kept together with the version of the event that gave it, and the value of
//! the greatest version stands. Joining that way is commutative, associative
//! and idempotent, so the end state is a function of the set of events.

use serde::{Deserialize, Serialize};

use crate::UNKNOWN_TIME;

/// The place of an event in the order of one value.
///
/// The fields are compared from the first to the last: the rank that the value
/// itself has (see each object), then the event's `created`, then its id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    /// The rank of the value; 0 where values have none.
    pub rank: u8,
    /// The event's `created`, in Unix seconds.
    pub created: i64,
    /// The event's id, which settles a tie.
    pub event_id: String,
}

impl Version {
    /// Whether this was said before `other`, of values that have no ranks.
    pub fn is_before(&self, other: &Self) -> bool {
        let key = |version: &Self| earliest(version.created);
        let by_time = key(self).cmp(&key(other));
        by_time
            .then_with(|| self.event_id.cmp(&other.event_id))
            .is_lt()
    }
}

/// Sorts by time, with [`UNKNOWN_TIME`] after all others.
pub fn earliest(created: i64) -> (bool, i64) {
    (created == UNKNOWN_TIME, created)
}

/// Whether a join changed what was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Change {
    /// Something new is known.
    Changed,
    /// All of it was known, or something later was.
    Unchanged,
}

impl Change {
    /// `Changed` if either is.
    pub fn or(self, other: Self) -> Self {
        if self == Self::Changed { self } else { other }
    }
}

/// A value and the version of the event that gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register<T> {
    /// The value.
    pub value: T,
    /// The version of the event that gave it.
    pub version: Version,
}

/// A value that some event may have given.
pub type Slot<T> = Option<Register<T>>;

/// Makes a slot of what one event says: an absent value says nothing.
pub fn said<T>(value: Option<T>, version: &Version) -> Slot<T> {
    value.map(|value| Register {
        value,
        version: version.clone(),
    })
}

/// Keeps the value of the greater version. An empty slot never wins, so that a
/// known value is never overwritten by null.
pub fn keep_latest<T: PartialEq>(slot: &mut Slot<T>, other: Slot<T>) -> Change {
    keep(slot, other, |ours, theirs| theirs > ours)
}

/// Keeps the value of the smaller version: what was said first stays.
pub fn keep_first<T: PartialEq>(slot: &mut Slot<T>, other: Slot<T>) -> Change {
    keep(slot, other, |ours, theirs| theirs.is_before(ours))
}

/// The same version is the same event: judged again, by a handler that may have
/// been mended since, it replaces what it said before.
fn keep<T: PartialEq>(
    slot: &mut Slot<T>,
    other: Slot<T>,
    wins: impl Fn(&Version, &Version) -> bool,
) -> Change {
    match (slot.as_ref(), other) {
        (_, None) => Change::Unchanged,
        (Some(ours), Some(theirs)) if *ours == theirs => Change::Unchanged,
        (Some(ours), Some(theirs))
            if ours.version != theirs.version && !wins(&ours.version, &theirs.version) =>
        {
            Change::Unchanged
        }
        (_, theirs) => {
            *slot = theirs;
            Change::Changed
        }
    }
}

/// The value of a slot.
pub fn value<T>(slot: &Slot<T>) -> Option<&T> {
    slot.as_ref().map(|register| &register.value)
}
