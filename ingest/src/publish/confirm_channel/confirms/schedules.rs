//! Every schedule of a few messages. The model of broker, lapin and rounds, as
//! [`super`] describes them, takes every possible step from every state.

use super::{Completion, Confirm, ConfirmTracker};
use crate::publish::outcome::Outcome;
use std::collections::{BTreeMap, BTreeSet};

/// How the broker handles a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handling {
    Routed,
    Nacked,
    Unroutable,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    id: u64,
    handling: Handling,
}

#[derive(Clone, Debug, Default)]
struct State {
    published: u64,
    /// Published, and not yet routed by the broker.
    at_broker: BTreeSet<u64>,
    /// Routed, or returned if it is unroutable, and not yet confirmed.
    routed: BTreeSet<u64>,
    /// Ids of returns that no confirm has taken, oldest first.
    returns: Vec<u64>,
    /// Completions since the last round.
    unseen: Vec<Completion<u64>>,
    tracker: ConfirmTracker<u64>,
    outcomes: BTreeMap<u64, Outcome>,
    lost: bool,
}

impl State {
    /// Returns the states after each possible step.
    fn next(&self, messages: &[Message]) -> Vec<Self> {
        let message = |number: u64| messages[usize::try_from(number).unwrap()];
        let mut next = Vec::new();
        let mut step = |change: &dyn Fn(&mut Self)| {
            let mut state = self.clone();
            change(&mut state);
            next.push(state);
        };
        if !self.lost && self.published < messages.len() as u64 {
            step(&|state: &mut Self| {
                state.at_broker.insert(state.published);
                state.published += 1;
            });
        }
        for number in &self.at_broker {
            step(&|state: &mut Self| {
                state.at_broker.remove(number);
                state.routed.insert(*number);
                if message(*number).handling == Handling::Unroutable {
                    state.returns.push(message(*number).id);
                }
            });
        }
        for number in &self.routed {
            step(&|state: &mut Self| {
                state.routed.remove(number);
                let confirm = match message(*number).handling {
                    Handling::Routed | Handling::Unroutable => Confirm::Acked,
                    Handling::Nacked => Confirm::Nacked,
                };
                let returned = (!state.returns.is_empty()).then(|| state.returns.remove(0));
                state.complete(message(*number), *number, confirm, returned);
            });
        }
        if !self.lost {
            step(&|state: &mut Self| {
                state.lost = true;
                let mut in_flight = std::mem::take(&mut state.at_broker);
                in_flight.append(&mut state.routed);
                for number in in_flight {
                    state.complete(message(number), number, Confirm::Lost, None);
                }
            });
        }
        if !self.unseen.is_empty() {
            step(&|state: &mut Self| state.round(messages, false));
            step(&|state: &mut Self| state.round(messages, true));
        }
        next
    }

    fn complete(&mut self, of: Message, number: u64, confirm: Confirm, returned: Option<u64>) {
        self.unseen.push(Completion {
            number,
            message_id: Some(of.id.to_string()),
            waiter: number,
            confirm,
            returned: returned.map(|id| Some(id.to_string())),
        });
    }

    /// Resolves a round. Its order is not defined, so the reverse is tried too.
    fn round(&mut self, messages: &[Message], reversed: bool) {
        let mut round = std::mem::take(&mut self.unseen);
        if reversed {
            round.reverse();
        }
        let oldest = self.at_broker.iter().chain(&self.routed).min().copied();
        for (number, outcome) in self.tracker.resolve_round(round, oldest, self.published) {
            self.check(messages, number, outcome);
            assert_eq!(
                self.outcomes.insert(number, outcome),
                None,
                "answered twice"
            );
        }
        let in_flight = self.at_broker.len() + self.routed.len() + self.unseen.len();
        if in_flight == 0 {
            assert_eq!(self.outcomes.len() as u64, self.published, "not answered");
            assert!(self.tracker.returns.is_empty() && self.tracker.undecided.is_empty());
        }
    }

    /// Checks an outcome. It may err on the side of caution, but a message that is
    /// not safe must never be `Confirmed`.
    fn check(&self, messages: &[Message], number: u64, outcome: Outcome) {
        let message = messages[usize::try_from(number).unwrap()];
        let mut same_id = messages.iter().filter(|other| other.id == message.id);
        let returned = same_id.any(|other| other.handling == Handling::Unroutable);
        let expected = match message.handling {
            Handling::Unroutable => outcome == Outcome::Returned,
            Handling::Nacked => outcome == Outcome::Refused,
            Handling::Routed => {
                outcome == Outcome::Confirmed || (returned && outcome == Outcome::Returned)
            }
        };
        let closed = self.lost && outcome == Outcome::ChannelClosed;
        assert!(expected || closed, "{message:?} is {outcome:?} in {self:?}");
    }
}

/// Returns all sequences of `count` messages: each handling, with one id or two.
fn sets(count: u32) -> Vec<Vec<Message>> {
    let handlings = [Handling::Routed, Handling::Nacked, Handling::Unroutable];
    let kinds: Vec<Message> = (0..2)
        .flat_map(|id| handlings.map(|handling| Message { id, handling }))
        .collect();
    let numbers = 0..kinds.len().pow(count);
    let set = |number: usize| {
        let digits = (0..count).map(|digit| number / kinds.len().pow(digit) % kinds.len());
        digits.map(|digit| kinds[digit]).collect()
    };
    numbers.map(set).collect()
}

/// Visits every reachable state and returns their number.
fn explore(messages: &[Message]) -> usize {
    let mut seen = BTreeSet::new();
    let mut open = vec![State::default()];
    while let Some(state) = open.pop() {
        for next in state.next(messages) {
            if seen.insert(format!("{next:?}")) {
                open.push(next);
            }
        }
    }
    seen.len()
}

#[test]
fn no_schedule_gives_a_message_the_outcome_of_another() {
    let mut states = 0;
    for count in 1..=3 {
        for messages in sets(count) {
            states += explore(&messages);
        }
    }
    println!("{states} states");
    assert!(states > 50_000, "{states}");
}
