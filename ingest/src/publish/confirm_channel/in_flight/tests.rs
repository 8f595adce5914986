//! Every interleaving of the rounds with the thread that reads from the broker.

use super::InFlight;
use futures_util::task::noop_waker_ref;
use loom::sync::Mutex;
use loom::thread;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use tokio::sync::oneshot;

/// The state that a publish's confirm shares with the thread that reads from the
/// broker, as in lapin.
#[derive(Default)]
struct Promise(Mutex<(bool, Option<Waker>)>);

impl Promise {
    fn complete(&self) {
        let waker = {
            let mut promise = self.0.lock().unwrap();
            promise.0 = true;
            promise.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

struct Confirm(Arc<Promise>);

impl Future for Confirm {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut promise = self.0.0.lock().unwrap();
        if promise.0 {
            return Poll::Ready(());
        }
        promise.1 = Some(cx.waker().clone());
        Poll::Pending
    }
}

type Messages = InFlight<Confirm, ()>;

fn publish(messages: &mut Messages) -> Arc<Promise> {
    let promise = Arc::<Promise>::default();
    messages.push(Confirm(Arc::clone(&promise)), ());
    promise
}

/// Waits for a round and returns the numbers in it. A lost wake-up would be a
/// deadlock, which loom reports.
fn round(messages: &mut Messages) -> Vec<u64> {
    let round = loom::future::block_on(poll_fn(|cx| match messages.poll_completed(cx) {
        completed if completed.is_empty() => Poll::Pending,
        completed => Poll::Ready(completed),
    }));
    round.into_iter().map(|(number, ..)| number).collect()
}

/// Polls rounds until nothing is in flight. A message is in no later round than
/// any message that was confirmed after it.
fn drain(messages: &mut Messages, order: &[u64]) {
    let mut rest = order;
    while !messages.is_empty() {
        let round = round(messages);
        let (first, later) = rest.split_at(round.len());
        let missing = first.iter().find(|number| !round.contains(number));
        assert_eq!(missing, None, "confirmed before one of {round:?}");
        rest = later;
    }
    assert!(rest.is_empty(), "seen twice, or never");
}

/// Runs a model in every schedule with at most this many preemptions, or in every
/// possible schedule if there is no bound.
fn explore(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let schedules = Arc::new(AtomicUsize::new(0));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    let count = Arc::clone(&schedules);
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    println!("{} schedules", schedules.load(Ordering::Relaxed));
}

/// Tests that the broker's thread confirms messages in this order.
fn confirm_in<const N: usize>(order: [u64; N], preemptions: Option<usize>) {
    explore(preemptions, move || {
        let mut messages = Messages::default();
        let promises = order.map(|_| publish(&mut messages));
        let broker = thread::spawn(move || {
            for number in order {
                promises[usize::try_from(number).unwrap()].complete();
            }
        });
        drain(&mut messages, &order);
        broker.join().unwrap();
    });
}

/// In the second case the slot that is polled first is confirmed last, when a
/// round may have passed it already.
#[test]
fn a_round_misses_nothing_that_was_confirmed_before() {
    confirm_in([0, 1], Some(3));
    confirm_in([1, 0], None);
}

#[test]
fn nor_does_one_of_three_messages() {
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        confirm_in(order, Some(3));
    }
}

/// A message takes the slot of a completed one whose last wake-up may still
/// come.
#[test]
fn a_slot_that_is_used_again_serves_the_new_message() {
    explore(Some(3), || {
        let mut messages = Messages::default();
        let first = publish(&mut messages);
        let broker = thread::spawn(move || first.complete());
        assert_eq!(round(&mut messages), [0]);
        let second = publish(&mut messages);
        assert_eq!(messages.slots.len(), 1);
        let another = thread::spawn(move || second.complete());
        assert_eq!(round(&mut messages), [1]);
        assert!(messages.is_empty());
        broker.join().unwrap();
        another.join().unwrap();
    });
}

/// One thread confirms a message while another fails the second one because the
/// connection has ended.
#[test]
fn no_wake_up_of_two_threads_is_lost() {
    explore(Some(3), || {
        let mut messages = Messages::default();
        let threads = [publish(&mut messages), publish(&mut messages)]
            .map(|promise| thread::spawn(move || promise.complete()));
        let mut seen = Vec::new();
        while !messages.is_empty() {
            seen.extend(round(&mut messages));
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1]);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn each_is_seen_once_and_slots_are_used_again() {
    loom::model(|| {
        let mut cx = Context::from_waker(noop_waker_ref());
        let mut in_flight = InFlight::default();
        for round in 0..3 {
            let mut resolvers = Vec::new();
            for n in 0..4 {
                let (resolve, future) = oneshot::channel();
                in_flight.push(future, n);
                resolvers.push(resolve);
            }
            assert_eq!(in_flight.next_number(), round * 4 + 4);
            assert!(in_flight.poll_completed(&mut cx).is_empty());
            assert_eq!(in_flight.oldest(), Some(round * 4));
            for (n, resolve) in resolvers.into_iter().enumerate().rev() {
                resolve.send(n * 10).unwrap();
                if n == 2 {
                    let mut seen = in_flight.poll_completed(&mut cx);
                    seen.sort_unstable_by_key(|(number, ..)| *number);
                    assert_eq!(
                        seen,
                        [(round * 4 + 2, 2, Ok(20)), (round * 4 + 3, 3, Ok(30))]
                    );
                }
            }
            assert_eq!(in_flight.poll_completed(&mut cx).len(), 2);
            assert!(in_flight.is_empty() && in_flight.oldest().is_none());
        }
        assert_eq!(in_flight.slots.len(), 4);
    });
}

/// The broker may complete a future at any time. Here one future completes
/// another while it is polled, and the round contains both.
#[test]
fn what_completes_during_a_round_is_in_it() {
    loom::model(|| {
        let mut cx = Context::from_waker(noop_waker_ref());
        let mut in_flight = InFlight::default();
        let (first, future) = oneshot::channel();
        in_flight.push(
            Box::pin(async { future.await.is_ok() }) as Pin<Box<dyn Future<Output = bool>>>,
            1,
        );
        assert!(in_flight.poll_completed(&mut cx).is_empty());
        let second = Box::pin(async move { first.send(()).is_ok() });
        in_flight.push(second, 2);
        let seen = in_flight.poll_completed(&mut cx);
        let mut seen: Vec<_> = seen.into_iter().map(|(_, n, _)| n).collect();
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
    });
}
