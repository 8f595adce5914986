//! What becomes of an event.

use crate::{
    event::{Event, EventData, IgnoreReason},
    ids::BookingId,
    merge::Change,
    ownership::{ClaimStatus, Owner},
    projection::Projection,
    rejection::{Holder, Rejection},
    text_enum,
    working_set::WorkingSet,
};

text_enum! {
    /// What became of an event, as the ledger keeps it.
    pub enum Outcome {
        /// It changed what is known.
        Applied = "applied",
        /// All of it, or later, was known.
        Stale = "stale",
        /// It is not for this deployment.
        Ignored = "ignored",
        /// It could not be applied.
        Dead = "dead",
        /// It was dead, was sent again, and is not decided yet.
        Replayed = "replayed",
    }
}

/// What becomes of one delivery. Each is acked once it is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The event changed what is known.
    Applied,
    /// All that the event says, or later, was known.
    Stale,
    /// The event is not for this deployment.
    Ignored(IgnoreReason),
    /// The event had its effect before.
    Duplicate,
    /// The event cannot be applied: it becomes a dead letter.
    Dead(Rejection),
}

impl Decision {
    /// The outcome to write to the ledger; `None` for a duplicate, which writes none.
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Applied => Some(Outcome::Applied),
            Self::Stale => Some(Outcome::Stale),
            Self::Ignored(_) => Some(Outcome::Ignored),
            Self::Duplicate => None,
            Self::Dead(_) => Some(Outcome::Dead),
        }
    }

    /// The decision in one word, for metrics and for what a replay came to.
    pub fn as_str(&self) -> &'static str {
        self.outcome().map_or("duplicate", Outcome::as_str)
    }

    /// Why, as a code, where there is something to say.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Ignored(why) => Some(why.code()),
            Self::Dead(why) => Some(why.code()),
            Self::Applied | Self::Stale | Self::Duplicate => None,
        }
    }
}

/// Decides what becomes of an event that was merged into the working set: `change` is what
/// it changed, `is_retry` says that it was decided before.
pub fn decide(
    set: &WorkingSet,
    projection: &Projection<'_>,
    event: &Event,
    change: Change,
    is_retry: bool,
) -> Decision {
    if let EventData::Ignored(why) = event.data {
        return Decision::Ignored(why);
    }
    if let Some(refused) = refused(set, projection, event) {
        return Decision::Dead(refused);
    }
    match change {
        Change::Changed => Decision::Applied,
        // What it says may be known since it was first decided.
        Change::Unchanged if is_retry => Decision::Applied,
        Change::Unchanged => Decision::Stale,
    }
}

/// Why the claim of an event is refused, where it is. One that was taken back is not.
fn refused(set: &WorkingSet, projection: &Projection<'_>, event: &Event) -> Option<Rejection> {
    let (object, claim) = event.claim()?;
    let booking = claim.booking?;
    if claim.status(&projection.holders.owners) != ClaimStatus::Refused {
        return None;
    }
    let is_active = set.active(&object).contains(&(claim.account, booking));
    is_active.then(|| projection.claimed_by_other(booking))
}

impl Projection<'_> {
    /// The rejection of a claim on a booking that another account has.
    pub fn claimed_by_other(&self, booking: BookingId) -> Rejection {
        let first = self.holders.first.get(&booking);
        let holder = match self.holders.owners.get(&booking) {
            Some(Owner::Account(account)) => Some(Holder {
                account: account.clone(),
                object: first.map(|claim| claim.by.object.clone()),
            }),
            Some(Owner::Unknown) | None => None,
        };
        Rejection::BookingClaimedByOtherAccount { booking, holder }
    }
}
