//! Works out the outcome of each message from all that a channel reports. Pure:
//! no I/O and no clock.
//!
//! It relies on three facts about the broker, lapin and the rounds:
//! 1. The broker returns an unroutable message before it confirms it.
//! 2. Each confirm that completes takes the oldest return that no confirm has
//!    taken yet, whether that belongs to the same message or to another.
//! 3. A round contains every confirm that completed before any confirm of the
//!    round did.
//!
//! So if a message completes without a return, its own return, if there was one,
//! was taken before by a message of this round or of an earlier one. If it
//! completes with the return of another message, its own return may not be taken
//! yet. Its outcome is then known once a later message completes without a
//! return, or once nothing is in flight, because then every return was taken.

use crate::publish::outcome::Outcome;

/// How the broker confirmed one publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confirm {
    Acked,
    Nacked,
    /// The channel ended before the confirm.
    Lost,
}

/// A publish whose confirm has completed.
#[derive(Clone, Debug)]
pub(super) struct Completion<T> {
    /// The publish's number: publishes are numbered in their order.
    pub(super) number: u64,
    pub(super) message_id: Option<String>,
    /// The request that waits for the outcome.
    pub(super) waiter: T,
    pub(super) confirm: Confirm,
    /// The message id of the return that this confirm took, which may belong to
    /// another message.
    pub(super) returned: Option<Option<String>>,
}

/// The returns and the undecided messages of a channel.
#[derive(Clone, Debug)]
pub(super) struct ConfirmTracker<T> {
    returns: Vec<Return>,
    /// Acked messages, each of which took another message's return.
    undecided: Vec<Completion<T>>,
}

/// A return: one of the messages before number `before` with this message id was
/// returned.
#[derive(Clone, Debug)]
struct Return {
    message_id: Option<String>,
    before: u64,
}

impl Return {
    /// Whether this may be the message's return. Stripe may deliver an event
    /// twice, so several messages in flight may have one id. Then all of them
    /// count as returned, and Stripe delivers them again.
    fn may_belong_to<T>(&self, message: &Completion<T>) -> bool {
        message.number < self.before
            && (self.message_id.is_none() || self.message_id == message.message_id)
    }
}

impl<T> Default for ConfirmTracker<T> {
    fn default() -> Self {
        Self {
            returns: Vec::new(),
            undecided: Vec::new(),
        }
    }
}

impl<T> ConfirmTracker<T> {
    /// Takes a round and returns the outcomes that are known now. `oldest` is the
    /// number of the oldest message in flight, `next_number` that of the next
    /// publish.
    pub(super) fn resolve_round(
        &mut self,
        round: Vec<Completion<T>>,
        oldest: Option<u64>,
        next_number: u64,
    ) -> Vec<(T, Outcome)> {
        let lost = round.iter().any(|done| done.confirm == Confirm::Lost);
        let plain = |done: &Completion<T>| done.confirm != Confirm::Lost && done.returned.is_none();
        let all_taken = oldest.is_none() || round.iter().any(plain);
        let returned = round.iter().filter_map(|done| done.returned.clone());
        self.returns.extend(returned.map(|message_id| Return {
            message_id,
            before: next_number,
        }));

        let mut outcomes = Vec::with_capacity(round.len());
        let mut undecided = Vec::new();
        for done in std::mem::take(&mut self.undecided) {
            let decided = all_taken.then_some(Outcome::Confirmed);
            match self.outcome(&done, lost, decided) {
                Some(outcome) => outcomes.push((done.waiter, outcome)),
                None => undecided.push(done),
            }
        }
        for done in round {
            let decided = (plain(&done) || oldest.is_none()).then_some(Outcome::Confirmed);
            match self.outcome(&done, lost && !plain(&done), decided) {
                Some(outcome) => outcomes.push((done.waiter, outcome)),
                None => undecided.push(done),
            }
        }
        self.undecided = undecided;

        let waiting = self.undecided.iter().map(|done| done.number);
        let oldest = waiting.chain(oldest).min().unwrap_or(u64::MAX);
        self.returns.retain(|returned| returned.before > oldest);
        outcomes
    }

    fn outcome(
        &self,
        done: &Completion<T>,
        lost: bool,
        unless_returned: Option<Outcome>,
    ) -> Option<Outcome> {
        match done.confirm {
            Confirm::Lost => Some(Outcome::ChannelClosed),
            Confirm::Nacked => Some(Outcome::Refused),
            Confirm::Acked if self.returns.iter().any(|one| one.may_belong_to(done)) => {
                Some(Outcome::Returned)
            }
            // The returns that no confirm took are lost with the channel.
            Confirm::Acked if lost => Some(Outcome::ChannelClosed),
            Confirm::Acked => unless_returned,
        }
    }
}

#[cfg(test)]
mod schedules;
#[cfg(test)]
mod tests;
