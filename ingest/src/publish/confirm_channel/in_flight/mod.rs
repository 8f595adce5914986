//! Futures in flight, polled in rounds that miss no completion.
//!
//! A round polls every woken future, and starts over until a pass finds none
//! complete. So every future that completed before any future of the round did is
//! in this round or in an earlier one: the one thread that reads from the broker
//! wakes each future before it completes the next.

use super::sync::{AtomicBool, AtomicWaker};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker};

/// Futures in flight, each with its data and its number. Numbers count from 0.
pub(super) struct InFlight<F, T> {
    slots: Vec<Slot<F, T>>,
    /// Indices of the slots without a future.
    free: Vec<usize>,
    /// Wakes the task that polls the rounds.
    task: Arc<AtomicWaker>,
    next_number: u64,
}

struct Slot<F, T> {
    woken: Arc<Woken>,
    waker: Waker,
    entry: Option<(u64, F, T)>,
}

/// Whether one slot has to be polled.
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
            next_number: 0,
        }
    }
}

impl<F: Future + Unpin, T> InFlight<F, T> {
    /// Adds a future, which the next round polls, and its data.
    pub(super) fn push(&mut self, future: F, data: T) {
        let index = self.free.pop().unwrap_or_else(|| {
            let woken = Arc::new(Woken {
                flag: AtomicBool::new(false),
                task: Arc::clone(&self.task),
            });
            self.slots.push(Slot {
                waker: Waker::from(Arc::clone(&woken)),
                woken,
                entry: None,
            });
            self.slots.len() - 1
        });
        if let Some(slot) = self.slots.get_mut(index) {
            slot.entry = Some((self.next_number, future, data));
            slot.woken.flag.store(true, Ordering::Release);
            self.next_number += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// Returns the number of the oldest future in flight.
    pub(super) fn oldest(&self) -> Option<u64> {
        let entries = self.slots.iter().filter_map(|slot| slot.entry.as_ref());
        entries.map(|(number, ..)| *number).min()
    }

    /// Returns the number that the next future gets.
    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Polls one round and returns the completed futures' numbers, data and
    /// outputs, in no particular order. `cx` is woken when more may complete.
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
        // Most slots were not woken, and reading the flag is cheaper than writing it.
        let woken = &self.woken.flag;
        if !woken.load(Ordering::Acquire) || !woken.swap(false, Ordering::AcqRel) {
            return None;
        }
        let (_, future, _) = self.entry.as_mut()?;
        let polled = Pin::new(future).poll(&mut Context::from_waker(&self.waker));
        let Poll::Ready(output) = polled else {
            return None;
        };
        let (number, _, data) = self.entry.take()?;
        Some((number, data, output))
    }
}

#[cfg(test)]
mod tests;
