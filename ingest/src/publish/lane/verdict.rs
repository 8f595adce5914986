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
#[derive(Debug)]
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
#[derive(Debug)]
pub(super) struct Verdicts<T> {
    returns: Vec<Return>,
    /// Acked, each with another's return.
    undecided: Vec<Completion<T>>,
}

/// A message with this id was returned. It is one of those that were published
/// before this was seen.
#[derive(Debug)]
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
mod tests {
    use super::{Answer, Completion, Verdicts};
    use crate::publish::Outcome;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, VecDeque};

    /// A message of the model.
    #[derive(Clone, Debug)]
    struct Message {
        id: u8,
        routed: bool,
        nacked: bool,
    }

    fn message() -> impl Strategy<Value = Message> {
        (0..6_u8, any::<bool>(), prop::bool::weighted(0.1)).prop_map(|(id, routed, nacked)| {
            Message {
                id,
                routed,
                nacked: nacked && routed,
            }
        })
    }

    /// Broker, lapin and rounds as they are described above. `choices` picks
    /// what happens next.
    fn run(messages: &[Message], choices: &[u8], lose_at: Option<usize>) -> BTreeMap<u64, Outcome> {
        let mut choices = choices.iter().copied().cycle();
        let mut pick = move || usize::from(choices.next().unwrap_or_default());
        let mut unpublished: VecDeque<(u64, Message)> = (0..).zip(messages.to_vec()).collect();
        let published = |left: usize| (messages.len() - left) as u64;
        // Published; returned where it must be; with a return to be taken.
        let mut at_broker: Vec<(u64, Message)> = Vec::new();
        let mut returned: Vec<(u64, Message)> = Vec::new();
        let mut returns: VecDeque<String> = VecDeque::new();
        let mut unseen: Vec<Completion<u64>> = Vec::new();
        let mut verdicts = Verdicts::default();
        let mut outcomes = BTreeMap::new();
        let mut steps = 0;
        while outcomes.len() < messages.len() {
            steps += 1;
            if Some(steps) == lose_at {
                let all = at_broker.drain(..).chain(returned.drain(..));
                let all = all.chain(unpublished.drain(..));
                unseen.extend(all.map(|(number, message)| Completion {
                    number,
                    id: Some(message.id.to_string()),
                    waiting: number,
                    answer: Answer::Lost,
                    returned: None,
                }));
            }
            match pick() % 4 {
                0 => at_broker.extend(unpublished.pop_front()),
                1 if !at_broker.is_empty() => {
                    let (number, message) = at_broker.remove(pick() % at_broker.len());
                    if !message.routed {
                        returns.push_back(message.id.to_string());
                    }
                    returned.push((number, message));
                }
                2 if !returned.is_empty() => {
                    let (number, message) = returned.remove(pick() % returned.len());
                    unseen.push(Completion {
                        number,
                        id: Some(message.id.to_string()),
                        waiting: number,
                        answer: if message.nacked {
                            Answer::Nacked
                        } else {
                            Answer::Acked
                        },
                        returned: returns.pop_front().map(Some),
                    });
                }
                3 if !unseen.is_empty() => {
                    let in_flight = at_broker.iter().chain(&returned);
                    let oldest = in_flight.map(|(number, _)| *number).min();
                    let mut round = std::mem::take(&mut unseen);
                    let by = pick() % round.len();
                    round.rotate_left(by);
                    for (number, outcome) in
                        verdicts.round(round, oldest, published(unpublished.len()))
                    {
                        assert!(outcomes.insert(number, outcome).is_none(), "answered twice");
                    }
                }
                _ => {}
            }
            assert!(steps < 100_000, "never decided");
        }
        assert!(verdicts.returns.is_empty() && verdicts.undecided.is_empty());
        outcomes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        /// Whatever the order: an unroutable message is never taken for a safe
        /// one, each is answered once, and only one with the id of a returned
        /// one is answered as returned.
        #[test]
        fn every_outcome_is_its_own(
            messages in prop::collection::vec(message(), 1..40),
            choices in prop::collection::vec(any::<u8>(), 1..400),
        ) {
            // Every kind of step has to be possible.
            let choices = [choices, vec![0, 1, 0, 2, 0, 3]].concat();
            let outcomes = run(&messages, &choices, None);
            for (number, outcome) in outcomes {
                let message = &messages[usize::try_from(number).unwrap()];
                let doubles = messages.iter().filter(|other| other.id == message.id);
                let mut doubles = doubles.map(|other| other.routed);
                match (message.routed, message.nacked) {
                    (false, _) => prop_assert_eq!(outcome, Outcome::Returned),
                    (true, true) => prop_assert_eq!(outcome, Outcome::Refused),
                    (true, false) if doubles.all(|routed| routed) => {
                        prop_assert_eq!(outcome, Outcome::Confirmed);
                    }
                    (true, false) => prop_assert!(
                        matches!(outcome, Outcome::Confirmed | Outcome::Returned)
                    ),
                }
            }
        }

        /// The same where the channel is lost at any moment.
        #[test]
        fn a_lost_channel_confirms_nothing_that_is_not_safe(
            messages in prop::collection::vec(message(), 1..40),
            choices in prop::collection::vec(any::<u8>(), 1..400),
            lose_at in 1..300_usize,
        ) {
            let choices = [choices, vec![0, 1, 0, 2, 0, 3]].concat();
            for (number, outcome) in run(&messages, &choices, Some(lose_at)) {
                let message = &messages[usize::try_from(number).unwrap()];
                if !message.routed {
                    prop_assert!(
                        matches!(outcome, Outcome::Returned | Outcome::ChannelClosed),
                        "{number}: {outcome:?}"
                    );
                }
            }
        }
    }
}
