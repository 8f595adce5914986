//! Waiting longer each time: a loop, not all at once, or one of many things that are tried.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

use tokio::time::Instant;

/// The first pause.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause: after an outage the worker is back within it.
const LONGEST: Duration = Duration::from_secs(3);

/// Pauses that double from 100 ms to 3 s or another limit, each shortened by up to a half at
/// random, so that several workers do not come back in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::up_to(LONGEST)
    }
}

impl Backoff {
    /// Pauses that grow to `longest`.
    pub fn up_to(longest: Duration) -> Self {
        Self {
            next: FIRST,
            longest,
        }
    }

    /// Waits for the next pause.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.next_pause()).await;
    }

    /// The next pause.
    pub fn next_pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.longest);
        let percent = u32::try_from(RandomState::new().build_hasher().finish() % 50).unwrap_or(0);
        whole - whole * percent / 100
    }
}

/// When one of many things is tried again that was refused.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    pause: Duration,
    until: Instant,
}

impl Retry {
    /// The next try after `first`, or, where the try before was of no use either, after twice its
    /// pause, `longest` at most.
    pub fn after(before: Option<Self>, first: Duration, longest: Duration) -> Self {
        let pause = before.map_or(first, |before| (before.pause * 2).min(longest));
        Self {
            pause,
            until: Instant::now() + pause,
        }
    }

    /// Whether its time has come.
    pub fn is_due(&self) -> bool {
        self.until <= Instant::now()
    }
}
