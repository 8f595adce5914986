//! What the worker remembers of the main app's tables between two batches.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use store::working_set::Projected;
use tokio::time::Instant;

/// How long batches leave the main app's tables alone after they cost too much time. The
/// job that writes pending rows goes on meanwhile.
const CLOSED: Duration = Duration::from_secs(1);

/// Whether a batch may use the main app's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// It may.
    Open,
    /// Its rows become pending at once.
    Closed,
}

/// What was last seen of the main app's tables.
#[derive(Clone, Debug, Default)]
pub(super) struct MainApp(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    /// Whether the bookings are in this database; `None` where it has to be looked for.
    has_bookings: Option<bool>,
    closed_until: Option<Instant>,
}

impl MainApp {
    pub(super) fn has_bookings(&self) -> Option<bool> {
        self.seen().has_bookings
    }

    pub(super) fn saw_bookings(&self, are_here: bool) {
        self.seen().has_bookings = Some(are_here);
    }

    /// Whether the next batch may use the tables.
    pub(super) fn gate(&self) -> Gate {
        match self.seen().closed_until {
            Some(until) if Instant::now() < until => Gate::Closed,
            Some(_) | None => Gate::Open,
        }
    }

    /// Notes what came of using the tables.
    pub(super) fn note(&self, projected: &Projected) {
        let mut seen = self.seen();
        if !projected.pending.is_empty() {
            // The tables may have come or gone.
            seen.has_bookings = None;
        }
        let now = Instant::now();
        // A batch that found it closed says so too, and does not keep it closed.
        if projected.is_blocked && seen.closed_until.is_none_or(|until| until <= now) {
            seen.closed_until = Some(now + CLOSED);
        }
    }

    /// A transaction failed: the tables may have come or gone.
    pub(super) fn forget(&self) {
        self.seen().has_bookings = None;
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
