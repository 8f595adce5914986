//! Every history of some deliveries, whatever becomes of each of them, in batches of any
//! size, against a broker that knows which deliveries are not answered.

use std::collections::BTreeSet;

use super::{Answer, answers};

/// Deliveries in a history.
const DELIVERIES: u64 = 6;

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is decided, in a batch.
    Decided,
    /// Its handler panics, in a batch.
    Panics,
    /// It is handled alone, and decided.
    Alone,
}

const FATES: [Fate; 3] = [Fate::Decided, Fate::Panics, Fate::Alone];

/// A broker and its unanswered deliveries.
#[derive(Debug)]
struct Broker {
    unanswered: BTreeSet<u64>,
    acked: BTreeSet<u64>,
    returned: BTreeSet<u64>,
}

impl Broker {
    fn new() -> Self {
        Self {
            unanswered: (1..=DELIVERIES).collect(),
            acked: BTreeSet::new(),
            returned: BTreeSet::new(),
        }
    }

    fn hear(&mut self, answers: &[Answer]) {
        for answer in answers {
            match *answer {
                Answer::Return(tag) => {
                    assert!(self.unanswered.remove(&tag), "an unknown tag: {tag}");
                    self.returned.insert(tag);
                }
                Answer::AckUpTo(last) => {
                    assert!(self.unanswered.contains(&last), "an unknown tag: {last}");
                    let rest = self.unanswered.split_off(&(last + 1));
                    self.acked.append(&mut self.unanswered);
                    self.unanswered = rest;
                }
            }
        }
    }
}

/// The history of this number: a fate for each delivery, and behind which of them a batch
/// ends.
fn history(number: usize) -> Vec<(u64, Fate, bool)> {
    let mut rest = number;
    let mut digit = |base: usize| {
        let digit = rest % base;
        rest /= base;
        digit
    };
    (1..=DELIVERIES)
        .map(|tag| (tag, FATES[digit(FATES.len())], digit(2) == 1))
        .collect()
}

#[test]
fn every_delivery_is_answered_once_and_by_what_became_of_it() {
    let histories = (FATES.len() * 2).pow(u32::try_from(DELIVERIES).unwrap());
    for number in 0..histories {
        let history = history(number);
        let of = |fate| history.iter().filter(move |one| one.1 == fate);
        let mut broker = Broker::new();
        let (mut returned, mut acked) = (Vec::new(), Vec::new());
        let mut done = BTreeSet::new();
        for (tag, fate, ends) in &history {
            match fate {
                Fate::Decided => acked.push(*tag),
                Fate::Panics => returned.push(*tag),
                Fate::Alone => {}
            }
            if *ends || *fate == Fate::Alone || *tag == DELIVERIES {
                broker.hear(&answers(&returned, &acked));
                done.extend(acked.drain(..));
                returned.clear();
                assert_eq!(broker.acked, done, "{history:?}");
            }
            if *fate == Fate::Alone {
                broker.hear(&answers(&[], &[*tag]));
                done.insert(*tag);
                assert_eq!(broker.acked, done, "{history:?}");
            }
        }
        let panicked: BTreeSet<u64> = of(Fate::Panics).map(|one| one.0).collect();
        assert_eq!(broker.returned, panicked, "{history:?}");
        assert!(broker.unanswered.is_empty(), "{history:?}");
    }
}

#[test]
fn a_batch_in_which_nothing_is_decided_acks_nothing() {
    assert_eq!(
        answers(&[3, 1], &[]),
        [Answer::Return(3), Answer::Return(1)]
    );
    assert_eq!(answers(&[], &[]), []);
}
