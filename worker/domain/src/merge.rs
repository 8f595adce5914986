//! Last-writer-wins registers: which of two events speaks last.
//!
//! Stripe delivers in any order, so nothing here depends on arrival. A value is
//! kept together with the order of the event that gave it, and the value of the
//! greatest order is kept. Merging that way is commutative, associative and
//! idempotent, so the end state is a function of the set of events.

use serde::{Deserialize, Serialize};

/// The `created` of an event that does not say when it happened: it never wins
/// against one that does, neither as the latest nor as the first.
pub const UNKNOWN_TIME: i64 = 0;

/// The place of an event in the order of one value.
///
/// The fields are compared from the first to the last: the rank that the value
/// itself has (each object says which), then the event's `created`, then its id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventOrder {
    /// The rank of the value; 0 where values have none.
    pub rank: u8,
    /// The event's `created`, in Unix seconds.
    pub created: i64,
    /// The event's id, which decides a tie.
    pub event_id: String,
}

impl EventOrder {
    /// The place in the order of time: ranks do not count.
    pub fn time(&self) -> (i64, &str) {
        (self.created, &self.event_id)
    }

    /// Whether this event happened before `other`; ranks do not count.
    pub fn is_before(&self, other: &Self) -> bool {
        self.first_key() < other.first_key()
    }

    /// The place in the order of which the first counts; ranks do not.
    pub fn first_key(&self) -> ((bool, i64), &str) {
        (earliest(self.created), &self.event_id)
    }
}

/// Sorts by time, with [`UNKNOWN_TIME`] after all others.
pub fn earliest(created: i64) -> (bool, i64) {
    (created == UNKNOWN_TIME, created)
}

/// Whether a merge changed what was known.
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

/// State that can be merged with more of the same object's.
pub trait Merge {
    /// Takes in `other`.
    fn merge(&mut self, other: Self) -> Change;
    /// The order of the newest event taken in. Its rank does not count.
    fn latest(&self) -> &EventOrder;
    /// Whether the object ended such that it claims no booking any more.
    fn claims_nothing(&self) -> bool;
    /// Whether one event gave all that is known, so that plain columns can hold it.
    fn is_of_one_event(&self) -> bool;
    /// Whether the claim under which this is kept is proof: the account's other events of the
    /// object change nothing of whose it is.
    fn proves_its_claim(&self) -> bool {
        false
    }
}

/// A value and the order of the event that gave it.
///
/// The database keeps registers as JSON, in which the order is named `version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register<T> {
    /// The value.
    pub value: T,
    /// The order of the event that gave it.
    #[serde(rename = "version")]
    pub order: EventOrder,
}

/// The register of what one event says; an absent value says nothing.
pub fn set_by<T>(value: Option<T>, order: &EventOrder) -> Option<Register<T>> {
    value.map(|value| Register {
        value,
        order: order.clone(),
    })
}

/// Keeps the value of the greater order. An empty register never wins, so that a
/// known value is never overwritten by null.
pub fn keep_latest<T: PartialEq>(
    register: &mut Option<Register<T>>,
    other: Option<Register<T>>,
) -> Change {
    keep(register, other, |ours, theirs| theirs > ours)
}

/// Keeps the value of the event that happened first.
pub fn keep_first<T: PartialEq>(
    register: &mut Option<Register<T>>,
    other: Option<Register<T>>,
) -> Change {
    keep(register, other, |ours, theirs| theirs.is_before(ours))
}

fn keep<T: PartialEq>(
    register: &mut Option<Register<T>>,
    other: Option<Register<T>>,
    wins: impl Fn(&EventOrder, &EventOrder) -> bool,
) -> Change {
    match (register.as_ref(), other) {
        (_, None) => Change::Unchanged,
        (Some(ours), Some(theirs)) if *ours == theirs => Change::Unchanged,
        // The same order is the same event. It replaces what it said before, because
        // the code that reads it may have been mended since.
        (Some(ours), Some(theirs))
            if ours.order != theirs.order && !wins(&ours.order, &theirs.order) =>
        {
            Change::Unchanged
        }
        (_, theirs) => {
            *register = theirs;
            Change::Changed
        }
    }
}

/// The value of a register, where it has one.
pub fn value<T>(register: &Option<Register<T>>) -> Option<&T> {
    register.as_ref().map(|register| &register.value)
}
