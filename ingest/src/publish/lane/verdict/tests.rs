//! Random schedules of many messages, and when an outcome is known.

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
    (0..6_u8, any::<bool>(), prop::bool::weighted(0.1)).prop_map(|(id, routed, nacked)| Message {
        id,
        routed,
        nacked: nacked && routed,
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
                for (number, outcome) in verdicts.round(round, oldest, published(unpublished.len()))
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

/// A message that completed, with the id of the return that came with it.
fn done(number: u64, id: &str, answer: Answer, returned: Option<&str>) -> Completion<u64> {
    Completion {
        number,
        id: Some(id.to_owned()),
        waiting: number,
        answer,
        returned: returned.map(|id| Some(id.to_owned())),
    }
}

/// Who is answered early need not wait for the slowest.
#[test]
fn an_outcome_is_said_as_soon_as_it_is_known() {
    use Answer::{Acked, Lost};
    use Outcome::{ChannelClosed, Confirmed, Returned};
    let mut verdicts = Verdicts::default();
    // Message 0 is in flight all the time.
    let plain = vec![done(1, "b", Acked, None)];
    assert_eq!(verdicts.round(plain, Some(0), 2), [(1, Confirmed)]);

    // Its own return may still be waiting, until one completes without any.
    let with_another = vec![done(2, "c", Acked, Some("d"))];
    assert_eq!(verdicts.round(with_another, Some(0), 4), []);
    let without = vec![done(3, "d", Acked, None)];
    assert_eq!(
        verdicts.round(without, Some(0), 4),
        [(2, Confirmed), (3, Returned)]
    );

    // What was safe before the channel was lost is safe.
    let both = vec![done(4, "e", Acked, None), done(5, "f", Lost, None)];
    assert_eq!(
        verdicts.round(both, Some(0), 6),
        [(4, Confirmed), (5, ChannelClosed)]
    );
}

/// The same event delivered once more, after the queue was bound again.
#[test]
fn a_return_is_of_what_was_published_before_it() {
    let mut verdicts = Verdicts::default();
    let returned = vec![done(1, "a", Answer::Acked, Some("a"))];
    assert_eq!(
        verdicts.round(returned, Some(0), 2),
        [(1, Outcome::Returned)]
    );
    let again = vec![done(2, "a", Answer::Acked, None)];
    assert_eq!(verdicts.round(again, Some(0), 3), [(2, Outcome::Confirmed)]);
}

#[test]
fn a_return_is_forgotten_once_it_can_be_of_nobody() {
    let mut verdicts = Verdicts::default();
    verdicts.round(vec![done(1, "a", Answer::Acked, Some("a"))], Some(0), 2);
    assert_eq!(verdicts.returns.len(), 1, "0 could be a double");
    verdicts.round(vec![done(0, "b", Answer::Acked, None)], Some(2), 3);
    assert!(verdicts.returns.is_empty(), "2 was published after it");
}
