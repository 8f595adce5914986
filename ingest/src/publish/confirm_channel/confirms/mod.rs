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

impl<T> Completion<T> {
    /// Whether the broker confirmed the message and no return came with that.
    fn took_no_return(&self) -> bool {
        self.confirm != Confirm::Lost && self.returned.is_none()
    }
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
        let is_lost = round.iter().any(|done| done.confirm == Confirm::Lost);
        let none_in_flight = oldest.is_none();
        let all_taken = none_in_flight || round.iter().any(Completion::took_no_return);
        let returned = round.iter().filter_map(|done| done.returned.clone());
        self.returns.extend(returned.map(|message_id| Return {
            message_id,
            before: next_number,
        }));

        let earlier = std::mem::take(&mut self.undecided).into_iter();
        let earlier = earlier.map(|done| (done, all_taken, is_lost));
        let completed = round.into_iter().map(|done| {
            // Its own return was taken before it completed, so a channel that was
            // lost later does not matter.
            let took_none = done.took_no_return();
            (done, took_none || none_in_flight, is_lost && !took_none)
        });
        let mut outcomes = Vec::with_capacity(completed.len());
        for (done, is_decided, is_lost) in earlier.chain(completed) {
            match self.outcome(&done, is_decided, is_lost) {
                Some(outcome) => outcomes.push((done.waiter, outcome)),
                None => self.undecided.push(done),
            }
        }

        // A return is kept while a message that it may belong to has no outcome.
        let undecided = self.undecided.iter().map(|done| done.number);
        let oldest = undecided.chain(oldest).min().unwrap_or(u64::MAX);
        self.returns.retain(|returned| returned.before > oldest);
        outcomes
    }

    /// Returns a message's outcome, or `None` if its return may not be taken yet.
    /// `is_decided` says that every return was taken that can be its own, and
    /// `is_lost` that untaken returns are lost with the channel.
    fn outcome(&self, done: &Completion<T>, is_decided: bool, is_lost: bool) -> Option<Outcome> {
        match done.confirm {
            Confirm::Lost => Some(Outcome::ChannelClosed),
            Confirm::Nacked => Some(Outcome::Refused),
            Confirm::Acked if self.returns.iter().any(|one| one.may_belong_to(done)) => {
                Some(Outcome::Returned)
            }
            Confirm::Acked if is_lost => Some(Outcome::ChannelClosed),
            Confirm::Acked => is_decided.then_some(Outcome::Confirmed),
        }
    }
}

#[cfg(test)]
mod schedules;
#[cfg(test)]
mod tests;
