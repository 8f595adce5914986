//! Joins waiting invoices as soon as their booking is there, and decides claims as soon as
//! the booking's account is known.
//!
//! A session or an event that was missing is noticed when it arrives. A booking is made by
//! the main app, which tells nobody, so the job polls for it.

use std::{collections::BTreeMap, time::Duration};

use domain::{ids::ObjectId, working_set::Recheck};
use store::{Error, waiting};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    jobs::{Job, JobError},
    pipeline::executor::BatchExecutor,
};

/// The most invoices and sessions in one transaction.
const PAGE: i64 = 100;
/// The most transactions in one run. Invoices whose booking has no known owner are all
/// rechecked, and a host can make as many as it likes: the next run goes on where this one
/// ended.
const PAGES: usize = 10;
/// How long an object is skipped that could not be committed: at first, and at most. Each
/// try can cost everybody the wait for a lock.
const SKIP_MIN: Duration = Duration::from_secs(2);
const SKIP_MAX: Duration = Duration::from_secs(60);
/// The most objects that are skipped.
const MAX_SKIPPED: usize = 10_000;

/// The job.
#[derive(Debug)]
pub struct RetryWaiting {
    executor: BatchExecutor,
    /// The last object rechecked; empty before the first.
    after: String,
    /// Objects that back off.
    skipped: BTreeMap<ObjectId, Skip>,
}

#[derive(Debug)]
struct Skip {
    until: Instant,
    pause: Duration,
}

impl Job for RetryWaiting {
    const NAME: &'static str = "retry_waiting";
    const EVERY: Duration = Duration::from_secs(1);

    async fn run_once(&mut self, _: &CancellationToken) -> Result<(), JobError> {
        match self.poll(PAGES).await? {
            0 => {}
            objects => debug!(objects, "rechecked waiting objects"),
        }
        Ok(())
    }
}

impl RetryWaiting {
    /// The job with this executor, before its first run.
    pub fn new(executor: BatchExecutor) -> Self {
        Self {
            executor,
            after: String::new(),
            skipped: BTreeMap::new(),
        }
    }

    /// Whether the next poll begins with the first object.
    pub fn is_at_start(&self) -> bool {
        self.after.is_empty()
    }

    /// Rechecks every invoice and session that waits and may wait no longer. Gives back
    /// how many were rechecked.
    ///
    /// # Errors
    /// The database is away; objects joined before stay joined.
    pub async fn poll_all(&mut self) -> Result<usize, Error> {
        self.poll(usize::MAX).await
    }

    /// Rechecks some pages of them, from where the poll before ended; behind the last comes
    /// the first again. Gives back how many were rechecked.
    ///
    /// # Errors
    /// The database is away; objects joined before stay joined.
    pub async fn poll(&mut self, pages: usize) -> Result<usize, Error> {
        let mut rechecked = 0;
        for _ in 0..pages {
            let page = {
                let conn = self.executor.pool.get().await?;
                let has_bookings = self.executor.look_for_bookings(&conn).await?;
                waiting::due(&conn, has_bookings, &self.after, PAGE).await?
            };
            let Some((mut due, last)) = page else {
                self.after.clear();
                break;
            };
            self.after = last;
            let now = Instant::now();
            due.0.retain(|object| self.is_due(object, now));
            if due.0.is_empty() {
                continue;
            }
            let failed = self.executor.recheck(&due).await?;
            self.note(&due, &failed, Instant::now());
            rechecked += due.0.len();
        }
        Ok(rechecked)
    }

    fn is_due(&self, object: &ObjectId, now: Instant) -> bool {
        let skip = self.skipped.get(object);
        skip.is_none_or(|skip| skip.until <= now)
    }

    /// Notes what came of a recheck.
    fn note(&mut self, rechecked: &Recheck, failed: &Recheck, now: Instant) {
        // An object that is not rechecked any more waits no longer.
        self.skipped.retain(|_, skip| now < skip.until + SKIP_MAX);
        for object in &rechecked.0 {
            let before = self.skipped.remove(object).map(|skip| skip.pause * 2);
            let has_room = before.is_some() || self.skipped.len() < MAX_SKIPPED;
            if has_room && failed.0.contains(object) {
                let pause = before.unwrap_or(SKIP_MIN).min(SKIP_MAX);
                let until = now + pause;
                self.skipped.insert(object.clone(), Skip { until, pause });
            }
        }
    }
}
