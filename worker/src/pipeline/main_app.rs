//! What the worker remembers of the main app's tables between two batches.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::main_app::Obstacle;
use store::{pending_projection::Failed, working_set::Projected};
use tokio::time::Instant;
use tracing::warn;

/// How long batches leave the main app's tables alone after they cost too much time. The
/// job that writes pending rows goes on meanwhile.
const CLOSED: Duration = Duration::from_secs(1);

/// How often the log speaks of rows that one obstacle keeps pending.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// How often it does where their number in a transaction changes: it can with every batch.
const WARN_OF_CHANGE_EVERY: Duration = Duration::from_secs(5);
/// The most obstacles that are told apart. The main app's schema has fewer constraints.
const MAX_OBSTACLES: usize = 200;

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
    /// When the log last spoke of each obstacle, and how many rows it named.
    said: BTreeMap<ObstacleKey, (Instant, usize)>,
}

/// The kind of row, the reason and the constraint.
type ObstacleKey = (&'static str, &'static str, Option<String>);

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
        seen.warn(&projected.pending, now);
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

impl Seen {
    /// Says which rows are pending, and why: one line for each obstacle when it is new, after
    /// 5 s where it keeps another number of rows, and after a minute else. It names a row and
    /// nothing that is in it.
    fn warn(&mut self, pending: &[Failed], now: Instant) {
        let mut by_obstacle: BTreeMap<ObstacleKey, (usize, &Failed)> = BTreeMap::new();
        for failed in pending {
            let Obstacle {
                reason, constraint, ..
            } = &failed.obstacle;
            let key = (failed.target.kind(), reason.as_str(), constraint.clone());
            by_obstacle.entry(key).or_insert((0, failed)).0 += 1;
        }
        for (key, (rows, failed)) in by_obstacle {
            let pause = match self.said.get(&key) {
                Some((_, count)) if *count == rows => WARN_EVERY,
                Some(_) => WARN_OF_CHANGE_EVERY,
                None => Duration::ZERO,
            };
            let last = self.said.get(&key);
            if last.is_some_and(|(at, _)| now < *at + pause) {
                continue;
            }
            if self.said.len() >= MAX_OBSTACLES {
                self.said.clear();
            }
            let (kind, reason, constraint) = &key;
            warn!(
                rows,
                kind,
                id = failed.target.id(),
                object_id = failed.object,
                reason,
                constraint,
                "rows of the main app cannot be written now; they are pending"
            );
            self.said.insert(key, (now, rows));
        }
    }
}
