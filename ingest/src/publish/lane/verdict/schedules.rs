//! Every schedule of a few messages: broker, lapin and rounds as they are
//! described in [`super`], one step at a time from each state that there is.

use super::{Answer, Completion, Verdicts};
use crate::publish::Outcome;
use std::collections::{BTreeMap, BTreeSet};

/// What the broker makes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Routed,
    Nacked,
    Unroutable,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    id: u64,
    fate: Fate,
}

#[derive(Clone, Debug, Default)]
struct State {
    published: u64,
    /// Published, and not yet looked at by the broker.
    at_broker: BTreeSet<u64>,
    /// Returned where it must be, and not yet confirmed.
    returned: BTreeSet<u64>,
    /// Ids of returns that no confirm has taken, oldest first.
    returns: Vec<u64>,
    /// Completed since the last round.
    unseen: Vec<Completion<u64>>,
    verdicts: Verdicts<u64>,
    answered: BTreeMap<u64, Outcome>,
    lost: bool,
}

impl State {
    /// The states after one more step of anybody.
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
                state.returned.insert(*number);
                if message(*number).fate == Fate::Unroutable {
                    state.returns.push(message(*number).id);
                }
            });
        }
        for number in &self.returned {
            step(&|state: &mut Self| {
                state.returned.remove(number);
                let answer = match message(*number).fate {
                    Fate::Routed | Fate::Unroutable => Answer::Acked,
                    Fate::Nacked => Answer::Nacked,
                };
                let returned = (!state.returns.is_empty()).then(|| state.returns.remove(0));
                state.complete(message(*number), *number, answer, returned);
            });
        }
        if !self.lost {
            step(&|state: &mut Self| {
                state.lost = true;
                let mut in_flight = std::mem::take(&mut state.at_broker);
                in_flight.append(&mut state.returned);
                for number in in_flight {
                    state.complete(message(number), number, Answer::Lost, None);
                }
            });
        }
        if !self.unseen.is_empty() {
            step(&|state: &mut Self| state.round(messages, false));
            step(&|state: &mut Self| state.round(messages, true));
        }
        next
    }

    fn complete(&mut self, of: Message, number: u64, answer: Answer, returned: Option<u64>) {
        self.unseen.push(Completion {
            number,
            id: Some(of.id.to_string()),
            waiting: number,
            answer,
            returned: returned.map(|id| Some(id.to_string())),
        });
    }

    /// A round comes in no order: this one and its reverse.
    fn round(&mut self, messages: &[Message], reversed: bool) {
        let mut round = std::mem::take(&mut self.unseen);
        if reversed {
            round.reverse();
        }
        let oldest = self.at_broker.iter().chain(&self.returned).min().copied();
        for (number, outcome) in self.verdicts.round(round, oldest, self.published) {
            self.check(messages, number, outcome);
            assert_eq!(
                self.answered.insert(number, outcome),
                None,
                "answered twice"
            );
        }
        let in_flight = self.at_broker.len() + self.returned.len() + self.unseen.len();
        if in_flight == 0 {
            assert_eq!(self.answered.len() as u64, self.published, "not answered");
            assert!(self.verdicts.returns.is_empty() && self.verdicts.undecided.is_empty());
        }
    }

    /// An answer may be careful, never wrong: what is not safe is not confirmed.
    fn check(&self, messages: &[Message], number: u64, outcome: Outcome) {
        let message = messages[usize::try_from(number).unwrap()];
        let mut doubles = messages.iter().filter(|other| other.id == message.id);
        let returned = doubles.any(|other| other.fate == Fate::Unroutable);
        let expected = match message.fate {
            Fate::Unroutable => outcome == Outcome::Returned,
            Fate::Nacked => outcome == Outcome::Refused,
            Fate::Routed => {
                outcome == Outcome::Confirmed || (returned && outcome == Outcome::Returned)
            }
        };
        let closed = self.lost && outcome == Outcome::ChannelClosed;
        assert!(expected || closed, "{message:?} is {outcome:?} in {self:?}");
    }
}

/// All sets of so many messages: every fate, under one id or several.
fn sets(count: u32) -> Vec<Vec<Message>> {
    let fates = [Fate::Routed, Fate::Nacked, Fate::Unroutable];
    let kinds: Vec<Message> = (0..2)
        .flat_map(|id| fates.map(|fate| Message { id, fate }))
        .collect();
    let numbers = 0..kinds.len().pow(count);
    let set = |number: usize| {
        let digits = (0..count).map(|digit| number / kinds.len().pow(digit) % kinds.len());
        digits.map(|digit| kinds[digit]).collect()
    };
    numbers.map(set).collect()
}

/// Goes to every state that there is, and says how many there are.
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
fn no_schedule_gives_a_message_the_answer_of_another() {
    let mut states = 0;
    for count in 1..=3 {
        for messages in sets(count) {
            states += explore(&messages);
        }
    }
    println!("{states} states");
    assert!(states > 50_000, "{states}");
}
