//! What became of each message, from all that a channel says. Pure.
//!
//! What the broker and lapin do, and all that is built on:
//! 1. An unroutable message is returned before it is confirmed.
//! 2. Every confirm that completes takes the oldest return that nobody has
//!    taken yet, its own or not.
//! 3. A round holds whatever had completed before anything in it did.
//!
//! So if a message completes without a return, its own, if there was one, was
//! taken before, by a message that is in this round or was in an earlier one.
//! If it completes with the return of another, its own may still be waiting:
//! it is decided once a later completion finds no return, or once nothing is
//! in flight, for then each return was taken.

use crate::publish::Outcome;

/// What the broker said to one publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Acked,
    Nacked,
    /// The channel ended before it said anything.
    Lost,
}

/// A publish whose confirm has completed.
#[derive(Clone, Debug)]
pub(super) struct Completion<T> {
    /// Publishes are numbered in the order in which they were made.
    pub(super) number: u64,
    /// Its message id.
    pub(super) id: Option<String>,
    /// Who waits for it.
    pub(super) waiting: T,
    pub(super) answer: Answer,
    /// The id of a returned message that came with it, its own or another's.
    pub(super) returned: Option<Option<String>>,
}

/// What is known of a channel's returns.
#[derive(Clone, Debug)]
pub(super) struct Verdicts<T> {
    returns: Vec<Return>,
    /// Acked, each with another's return.
    undecided: Vec<Completion<T>>,
}

/// A message with this id was returned. It is one of those that were published
/// before this was seen.
#[derive(Clone, Debug)]
struct Return {
    id: Option<String>,
    before: u64,
}

impl Return {
    /// Events are delivered twice, so several in flight may have one id. Then
    /// all of them count as returned: their sender tries again.
    fn may_be<T>(&self, of: &Completion<T>) -> bool {
        of.number < self.before && (self.id.is_none() || self.id == of.id)
    }
}

impl<T> Default for Verdicts<T> {
    fn default() -> Self {
        Self {
            returns: Vec::new(),
            undecided: Vec::new(),
        }
    }
}

impl<T> Verdicts<T> {
    /// Takes a round and says what can be said. `oldest` is the number of the
    /// oldest message that is still in flight, `published` the number of the
    /// next one.
    pub(super) fn round(
        &mut self,
        round: Vec<Completion<T>>,
        oldest: Option<u64>,
        published: u64,
    ) -> Vec<(T, Outcome)> {
        let lost = round.iter().any(|done| done.answer == Answer::Lost);
        let plain = |done: &Completion<T>| done.answer != Answer::Lost && done.returned.is_none();
        let all_taken = oldest.is_none() || round.iter().any(plain);
        let returned = round.iter().filter_map(|done| done.returned.clone());
        self.returns.extend(returned.map(|id| Return {
            id,
            before: published,
        }));

        let mut said = Vec::with_capacity(round.len());
        let mut undecided = Vec::new();
        for done in std::mem::take(&mut self.undecided) {
            let decided = all_taken.then_some(Outcome::Confirmed);
            match self.outcome(&done, lost, decided) {
                Some(outcome) => said.push((done.waiting, outcome)),
                None => undecided.push(done),
            }
        }
        for done in round {
            let decided = (plain(&done) || oldest.is_none()).then_some(Outcome::Confirmed);
            match self.outcome(&done, lost && !plain(&done), decided) {
                Some(outcome) => said.push((done.waiting, outcome)),
                None => undecided.push(done),
            }
        }
        self.undecided = undecided;

        let waiting = self.undecided.iter().map(|done| done.number);
        let oldest = waiting.chain(oldest).min().unwrap_or(u64::MAX);
        self.returns.retain(|returned| returned.before > oldest);
        said
    }

    fn outcome(
        &self,
        done: &Completion<T>,
        lost: bool,
        unless_returned: Option<Outcome>,
    ) -> Option<Outcome> {
        match done.answer {
            Answer::Lost => Some(Outcome::ChannelClosed),
            Answer::Nacked => Some(Outcome::Refused),
            Answer::Acked if self.returns.iter().any(|one| one.may_be(done)) => {
                Some(Outcome::Returned)
            }
            // The returns that nobody took are lost with the channel.
            Answer::Acked if lost => Some(Outcome::ChannelClosed),
            Answer::Acked => unless_returned,
        }
    }
}

#[cfg(test)]
mod schedules;
#[cfg(test)]
mod tests;
