//! Futures in flight, seen in rounds that miss none.
//!
//! A round looks at every future that was woken, again and again until a look
//! finds none complete. So whatever had completed before anything of the round
//! did is in this round or in one before: a completion wakes its future before
//! the next one happens, on the one thread that reads from the broker.

use super::sync::{AtomicBool, AtomicWaker};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker};

/// Futures, each with what goes with it and its number, counted from 0.
pub(super) struct InFlight<F, T> {
    slots: Vec<Slot<F, T>>,
    free: Vec<usize>,
    task: Arc<AtomicWaker>,
    pushed: u64,
}

struct Slot<F, T> {
    woken: Arc<Woken>,
    waker: Waker,
    held: Option<(u64, F, T)>,
}

/// Whether one slot has to be looked at.
#[derive(Default)]
struct Woken {
    flag: AtomicBool,
    task: Arc<AtomicWaker>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.flag.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<F, T> Default for InFlight<F, T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            task: Arc::default(),
            pushed: 0,
        }
    }
}

impl<F: Future + Unpin, T> InFlight<F, T> {
    /// Adds a future; the next round looks at it.
    pub(super) fn push(&mut self, future: F, with: T) {
        let index = self.free.pop().unwrap_or_else(|| {
            let woken = Arc::new(Woken {
                flag: AtomicBool::new(false),
                task: Arc::clone(&self.task),
            });
            self.slots.push(Slot {
                waker: Waker::from(Arc::clone(&woken)),
                woken,
                held: None,
            });
            self.slots.len() - 1
        });
        if let Some(slot) = self.slots.get_mut(index) {
            slot.held = Some((self.pushed, future, with));
            slot.woken.flag.store(true, Ordering::Release);
            self.pushed += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// The number of the oldest future in flight.
    pub(super) fn oldest(&self) -> Option<u64> {
        let held = self.slots.iter().filter_map(|slot| slot.held.as_ref());
        held.map(|(number, ..)| *number).min()
    }

    /// The number of the next future.
    pub(super) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// One round: what has completed, in no order. `cx` is woken when there may
    /// be more.
    pub(super) fn poll_completed(&mut self, cx: &mut Context<'_>) -> Vec<(u64, T, F::Output)> {
        self.task.register(cx.waker());
        let mut completed = Vec::new();
        loop {
            let before = completed.len();
            for (index, slot) in self.slots.iter_mut().enumerate() {
                if let Some(done) = slot.poll() {
                    completed.push(done);
                    self.free.push(index);
                }
            }
            if completed.len() == before {
                return completed;
            }
        }
    }
}

impl<F: Future + Unpin, T> Slot<F, T> {
    fn poll(&mut self) -> Option<(u64, T, F::Output)> {
        // Read before it is written: most slots were not woken.
        let woken = &self.woken.flag;
        if !woken.load(Ordering::Acquire) || !woken.swap(false, Ordering::AcqRel) {
            return None;
        }
        let (_, future, _) = self.held.as_mut()?;
        let polled = Pin::new(future).poll(&mut Context::from_waker(&self.waker));
        let Poll::Ready(output) = polled else {
            return None;
        };
        let (number, _, with) = self.held.take()?;
        Some((number, with, output))
    }
}

#[cfg(test)]
mod tests;
