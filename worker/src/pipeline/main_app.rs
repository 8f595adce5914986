//! What the worker remembers of the main app's tables between two batches.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::main_app::{Obstacle, ObstacleReason};
use store::{
    main_app::{Blocked, LeftAlone},
    pending_projection::Failed,
    working_set::Projected,
};
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

/// What was last seen of the main app's tables.
#[derive(Clone, Debug, Default)]
pub(super) struct MainApp(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    /// Whether the bookings are in this database; `None` where it has to be looked for.
    has_bookings: Option<bool>,
    /// Until when the bookings' tables are left alone.
    bookings_closed_until: Option<Instant>,
    /// Until when the hosts' table is left alone.
    hosts_closed_until: Option<Instant>,
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

    /// Which tables the next batch has to leave alone.
    pub(super) fn left_alone(&self) -> LeftAlone {
        let (seen, now) = (self.seen(), Instant::now());
        let is_closed = |until: Option<Instant>| until.is_some_and(|until| now < until);
        let said = "the main app's table cost too much time a moment ago";
        let obstacle = || Obstacle::new(ObstacleReason::NotTried, said);
        LeftAlone {
            bookings: is_closed(seen.bookings_closed_until).then(obstacle),
            hosts: is_closed(seen.hosts_closed_until).then(obstacle),
        }
    }

    /// The main app had the transaction of a whole batch undone: its tables are left alone for a
    /// moment.
    pub(super) fn undid_transaction(&self) {
        let mut seen = self.seen();
        let until = Instant::now() + CLOSED;
        seen.bookings_closed_until = Some(until);
        seen.hosts_closed_until = Some(until);
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
        let Blocked { bookings, hosts } = projected.blocked;
        close(bookings, &mut seen.bookings_closed_until, now);
        close(hosts, &mut seen.hosts_closed_until, now);
    }

    /// A transaction failed: the tables may have come or gone.
    pub(super) fn forget(&self) {
        self.seen().has_bookings = None;
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes a table that cost too much time. A batch that found it closed says so too, and does not
/// keep it closed.
fn close(is_blocked: bool, until: &mut Option<Instant>, now: Instant) {
    if is_blocked && until.is_none_or(|until| until <= now) {
        *until = Some(now + CLOSED);
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
