//! What becomes of an event.

use crate::{
    Event, Fact,
    claim::{Owners, Standing},
    place::Waiting,
    rejection::Rejection,
    version::Change,
};

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It changed what is known.
    Applied,
    /// All of it, or later, was known.
    Stale,
    /// Its invoice has no booking to show it at yet, or nobody knows whose booking
    /// it names.
    Waiting,
    /// It is not for us.
    Ignored,
    /// It could not be applied.
    Dead,
}

impl Outcome {
    /// As the ledger keeps it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Stale => "stale",
            Self::Waiting => "waiting",
            Self::Ignored => "ignored",
            Self::Dead => "dead",
        }
    }
}

/// What becomes of one delivery. Each may be acked once its effects are committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The event has its one effect now.
    Settled(Outcome),
    /// The event had its effect before.
    Duplicate,
    /// The event cannot be applied: it has to go to the dead letters before it
    /// is acked.
    Dead(Rejection),
}

/// A verdict, and why as a code where there is something to say.
pub type Judgement = (Verdict, Option<&'static str>);

/// Judges an event that was taken in: `change` is what it changed, `waiting` what
/// its invoice waits for, and `again` says that it was judged before.
pub fn judge(
    event: &Event,
    change: Result<Change, Rejection>,
    owners: &Owners,
    waiting: Option<Waiting>,
    again: bool,
) -> Judgement {
    if let Fact::Ignored(ignored) = event.fact {
        return (Verdict::Settled(Outcome::Ignored), Some(ignored.code()));
    }
    let change = match change {
        Ok(change) => change,
        Err(rejection) => return dead(rejection),
    };
    if let Some(claim) = event.claim()
        && let Some(booking) = claim.booking
    {
        match claim.standing(owners) {
            Standing::Accepted => {}
            Standing::Refused => return dead(Rejection::BookingClaimedByOtherAccount { booking }),
            Standing::Undecided => return wait(Waiting::OwnerUnknown),
        }
    }
    let outcome = match (waiting, change) {
        (Some(waiting), _) => return wait(waiting),
        (None, Change::Changed) => Outcome::Applied,
        // What it says may be known since it was first judged.
        (None, Change::Unchanged) if again => Outcome::Applied,
        (None, Change::Unchanged) => Outcome::Stale,
    };
    (Verdict::Settled(outcome), None)
}

/// The judgement of what cannot be applied.
pub fn dead(rejection: Rejection) -> Judgement {
    let code = rejection.code();
    (Verdict::Dead(rejection), Some(code))
}

fn wait(waiting: Waiting) -> Judgement {
    (Verdict::Settled(Outcome::Waiting), Some(waiting.code()))
}
