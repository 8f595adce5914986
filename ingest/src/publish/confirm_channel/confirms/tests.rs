//! Random schedules of many messages, and the moment at which an outcome is known.

use super::{Completion, Confirm, ConfirmTracker};
use crate::publish::outcome::Outcome;
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

/// Models broker, lapin and rounds as [`super`] describes them. `choices` picks
/// each next step.
fn run(messages: &[Message], choices: &[u8], lose_at: Option<usize>) -> BTreeMap<u64, Outcome> {
    let mut choices = choices.iter().copied().cycle();
    let mut pick = move || usize::from(choices.next().unwrap_or_default());
    let mut unpublished: VecDeque<(u64, Message)> = (0..).zip(messages.to_vec()).collect();
    let published = |left: usize| (messages.len() - left) as u64;
    // Three stages of a message: it was published; the broker has returned it if it
    // is unroutable; its confirm has completed. `returns` holds the untaken returns.
    let mut at_broker: Vec<(u64, Message)> = Vec::new();
    let mut returned: Vec<(u64, Message)> = Vec::new();
    let mut returns: VecDeque<String> = VecDeque::new();
    let mut unseen: Vec<Completion<u64>> = Vec::new();
    let mut tracker = ConfirmTracker::default();
    let mut outcomes = BTreeMap::new();
    let mut steps = 0;
    while outcomes.len() < messages.len() {
        steps += 1;
        if Some(steps) == lose_at {
            let all = at_broker.drain(..).chain(returned.drain(..));
            let all = all.chain(unpublished.drain(..));
            unseen.extend(all.map(|(number, message)| Completion {
                number,
                message_id: Some(message.id.to_string()),
                waiter: number,
                confirm: Confirm::Lost,
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
                    message_id: Some(message.id.to_string()),
                    waiter: number,
                    confirm: if message.nacked {
                        Confirm::Nacked
                    } else {
                        Confirm::Acked
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
                    tracker.resolve_round(round, oldest, published(unpublished.len()))
                {
                    assert!(outcomes.insert(number, outcome).is_none(), "answered twice");
                }
            }
            _ => {}
        }
        assert!(steps < 100_000, "never decided");
    }
    assert!(tracker.returns.is_empty() && tracker.undecided.is_empty());
    outcomes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    /// In any order of steps, an unroutable message is never `Confirmed`, each
    /// message gets one outcome, and only a message with the id of a returned one
    /// is `Returned`.
    #[test]
    fn every_outcome_is_its_own(
        messages in prop::collection::vec(message(), 1..40),
        choices in prop::collection::vec(any::<u8>(), 1..400),
    ) {
        // Every kind of step must be possible, or the model would never end.
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

    /// An unroutable message is not `Confirmed` if the channel is lost at any step.
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

/// Returns a completion that took the return with the id `returned`.
fn done(number: u64, id: &str, confirm: Confirm, returned: Option<&str>) -> Completion<u64> {
    Completion {
        number,
        message_id: Some(id.to_owned()),
        waiter: number,
        confirm,
        returned: returned.map(|id| Some(id.to_owned())),
    }
}

/// A message that is confirmed early does not wait for the slowest one.
#[test]
fn an_outcome_is_returned_as_soon_as_it_is_known() {
    use Confirm::{Acked, Lost};
    use Outcome::{ChannelClosed, Confirmed, Returned};
    let mut tracker = ConfirmTracker::default();
    // Message 0 is in flight all the time.
    let plain = vec![done(1, "b", Acked, None)];
    assert_eq!(tracker.resolve_round(plain, Some(0), 2), [(1, Confirmed)]);

    // The own return of message 2 may be untaken until a message completes without
    // a return.
    let with_another = vec![done(2, "c", Acked, Some("d"))];
    assert_eq!(tracker.resolve_round(with_another, Some(0), 4), []);
    let without = vec![done(3, "d", Acked, None)];
    assert_eq!(
        tracker.resolve_round(without, Some(0), 4),
        [(2, Confirmed), (3, Returned)]
    );

    // A message that was confirmed before the channel was lost is safe.
    let both = vec![done(4, "e", Acked, None), done(5, "f", Lost, None)];
    assert_eq!(
        tracker.resolve_round(both, Some(0), 6),
        [(4, Confirmed), (5, ChannelClosed)]
    );
}

/// Stripe delivers the same event again after the queue was bound again.
#[test]
fn a_return_belongs_to_a_message_published_before_it() {
    let mut tracker = ConfirmTracker::default();
    let returned = vec![done(1, "a", Confirm::Acked, Some("a"))];
    assert_eq!(
        tracker.resolve_round(returned, Some(0), 2),
        [(1, Outcome::Returned)]
    );
    let again = vec![done(2, "a", Confirm::Acked, None)];
    assert_eq!(
        tracker.resolve_round(again, Some(0), 3),
        [(2, Outcome::Confirmed)]
    );
}

#[test]
fn a_return_is_forgotten_once_no_message_can_be_its_own() {
    let mut tracker = ConfirmTracker::default();
    tracker.resolve_round(vec![done(1, "a", Confirm::Acked, Some("a"))], Some(0), 2);
    assert_eq!(tracker.returns.len(), 1, "0 could be a double");
    tracker.resolve_round(vec![done(0, "b", Confirm::Acked, None)], Some(2), 3);
    assert!(tracker.returns.is_empty(), "2 was published after it");
}
