//! What `/readyz` says, and what the gauges of the queue show.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use tokio::time::Instant;

/// How long a delivery may be in hand without any commit. A batch takes milliseconds, and a
/// statement that waits for a lock is given up after 30 s.
pub const STUCK_AFTER: Duration = Duration::from_secs(30);

/// Whether the worker can do its work right now.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    consuming: AtomicBool,
    progress: Mutex<Progress>,
}

/// When deliveries came and were committed.
#[derive(Debug, Default)]
struct Progress {
    /// When each delivery of this session came that is not answered yet, in their order.
    in_hand: VecDeque<Instant>,
    /// The session that they are of.
    session: u64,
    /// The last commit of deliveries.
    last_commit: Option<(Instant, i64)>,
}

/// Why the worker does not do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// There is no consumer.
    NotConsuming,
    /// A delivery has been in hand for long, and nothing was committed meanwhile.
    Stuck {
        /// For how long.
        since: Duration,
    },
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConsuming => f.write_str("the queue is not being consumed"),
            Self::Stuck { since } => write!(
                f,
                "nothing was committed for {} s though deliveries are in hand",
                since.as_secs()
            ),
        }
    }
}

impl Health {
    /// Notes whether the queue is being consumed. The deliveries of a session that ended are
    /// no longer in hand: the broker has them.
    pub fn consuming(&self, yes: bool) {
        self.0.consuming.store(yes, Ordering::Relaxed);
        if !yes {
            let mut progress = self.progress();
            progress.session += 1;
            progress.in_hand.clear();
        }
    }

    /// Whether the queue is being consumed.
    pub fn is_consuming(&self) -> bool {
        self.0.consuming.load(Ordering::Relaxed)
    }

    /// The messages of a new session, each noted as in hand when it comes.
    pub fn watch<M>(
        &self,
        messages: impl Stream<Item = M> + Unpin + Send + 'static,
    ) -> impl Stream<Item = M> + Unpin + Send + 'static {
        let health = self.clone();
        let session = health.progress().session;
        messages.inspect(move |_| {
            let mut progress = health.progress();
            if progress.session == session {
                progress.in_hand.push_back(Instant::now());
            }
        })
    }

    /// Notes that the oldest deliveries in hand were answered.
    pub fn answered(&self, count: usize) {
        let mut progress = self.progress();
        let answered = count.min(progress.in_hand.len());
        progress.in_hand.drain(..answered);
    }

    /// Notes that deliveries were committed `at` this moment, which is `unix` seconds since
    /// 1970.
    pub fn committed(&self, at: Instant, unix: i64) {
        self.progress().last_commit = Some((at, unix));
    }

    /// When deliveries were last committed here, in seconds since 1970; `None` before the
    /// first commit.
    pub fn last_commit(&self) -> Option<i64> {
        self.progress().last_commit.map(|(_, unix)| unix)
    }

    /// How many deliveries were received and not answered.
    pub fn in_hand(&self) -> usize {
        self.progress().in_hand.len()
    }

    /// For how long the oldest of them has been in hand at `now`; zero where there is none.
    pub fn oldest_in_hand(&self, now: Instant) -> Duration {
        let progress = self.progress();
        let oldest = progress.in_hand.front();
        oldest.map_or(Duration::ZERO, |came| now.saturating_duration_since(*came))
    }

    /// Whether the worker does its work at `now`.
    ///
    /// # Errors
    /// It does not, and why.
    pub fn check(&self, now: Instant) -> Result<(), NotReady> {
        if !self.is_consuming() {
            return Err(NotReady::NotConsuming);
        }
        let last_commit = self.progress().last_commit;
        let without_commit =
            last_commit.map_or(Duration::MAX, |(at, _)| now.saturating_duration_since(at));
        let since = self.oldest_in_hand(now).min(without_commit);
        match since > STUCK_AFTER {
            true => Err(NotReady::Stuck { since }),
            false => Ok(()),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        let progress = self.0.progress.lock();
        progress.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    const SECOND: Duration = Duration::from_secs(1);

    async fn receive(health: &Health, count: usize) {
        let messages = health.watch(stream::iter(0..count));
        assert_eq!(messages.count().await, count);
    }

    #[tokio::test]
    async fn it_is_stuck_when_a_delivery_is_old_and_nothing_is_committed() {
        let health = Health::default();
        assert_eq!(health.check(Instant::now()), Err(NotReady::NotConsuming));
        health.consuming(true);
        // Nothing to do is no reason, however long it lasts.
        assert_eq!(health.check(Instant::now() + 1000 * SECOND), Ok(()));
        receive(&health, 2).await;
        let came = health.progress().in_hand[0];
        assert_eq!(health.oldest_in_hand(came + SECOND), SECOND);
        assert_eq!(health.check(came + STUCK_AFTER), Ok(()));
        let since = STUCK_AFTER + SECOND;
        let stuck = Err(NotReady::Stuck { since });
        assert_eq!(health.check(came + since), stuck);
        // The rest waits, and others are committed.
        health.committed(came + 10 * SECOND, 7);
        assert_eq!(health.last_commit(), Some(7));
        assert_eq!(health.check(came + since), Ok(()));
        assert_eq!(health.check(came + since + 10 * SECOND), stuck);
        health.answered(1);
        assert_eq!(health.in_hand(), 1);
        health.answered(1);
        assert_eq!(health.check(came + 1000 * SECOND), Ok(()));
    }

    #[tokio::test]
    async fn deliveries_of_a_lost_session_are_not_in_hand() {
        let health = Health::default();
        health.consuming(true);
        receive(&health, 3).await;
        let late = health.watch(stream::iter(0..1));
        health.consuming(false);
        assert_eq!(late.count().await, 1);
        assert_eq!((health.in_hand(), health.last_commit()), (0, None));
        assert_eq!(
            health.oldest_in_hand(Instant::now() + SECOND),
            Duration::ZERO
        );
        // Answers that come late have nothing to answer.
        health.answered(3);
        assert_eq!(health.in_hand(), 0);
    }
}
