//! The types that [`super::in_flight`] shares with the thread that reads from the
//! broker.
//!
//! In unit tests they are loom's. loom runs a test once for each order in which
//! two threads can see each other's accesses, down to single atomic operations.

#[cfg(not(test))]
pub(super) use futures_util::task::AtomicWaker;
#[cfg(test)]
pub(super) use loom::sync::atomic::AtomicBool;
#[cfg(not(test))]
pub(super) use std::sync::atomic::AtomicBool;

/// loom's `AtomicWaker` with the interface of the one in `futures_util`.
#[cfg(test)]
#[derive(Default)]
pub(super) struct AtomicWaker(loom::future::AtomicWaker);

#[cfg(test)]
impl AtomicWaker {
    pub(super) fn register(&self, waker: &std::task::Waker) {
        self.0.register_by_ref(waker);
    }

    pub(super) fn wake(&self) {
        self.0.wake();
    }
}
