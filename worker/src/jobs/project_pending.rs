//! Writes rows of the main app's tables that could not be written before, as soon as what
//! was in their way is gone: a lock, a refusal, a booking that was missing, an owner that
//! was not known.
//!
//! The main app tells nobody when that is, so the job looks. It holds the writers' lock no
//! more than half of the time, so events go on meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use domain::{
    ids::{BookingId, ObjectId},
    ownership::Owner,
    source::Recheck,
};
use store::{
    Error,
    main_app::{Blocked, read},
    pending_projection, savepoint, waiting,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    jobs::{Job, JobError},
    pipeline::executor::{BatchExecutor, Stopped},
};

/// The most rows in one transaction.
const PAGE: i64 = 500;
/// The most pages of waiting objects in one run. A host can make as many as it likes: the
/// next run goes on where this one ended.
const PAGES: usize = 10;
/// How often the log says that the deployment's query fails.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// How long one run tries pending rows.
const RUN: Duration = Duration::from_secs(10);

/// The job.
#[derive(Debug)]
pub struct ProjectPending {
    executor: BatchExecutor,
    /// Where the look before ended.
    after: waiting::Cursor,
    /// When the log last said that the deployment's query fails.
    owner_query_failed: Option<Instant>,
}

impl Job for ProjectPending {
    const NAME: &'static str = "project_pending";
    const EVERY: Duration = Duration::from_secs(1);

    async fn run_once(&mut self, stop: &CancellationToken) -> Result<(), JobError> {
        let rows = self.write_pending(stop).await?;
        let objects = self.poll(PAGES, stop).await?;
        if rows + objects > 0 {
            debug!(rows, objects, "pending projections were tried");
        }
        Ok(())
    }
}

impl ProjectPending {
    /// The job with this executor, before its first run.
    pub fn new(executor: BatchExecutor) -> Self {
        Self {
            executor,
            after: waiting::Cursor::default(),
            owner_query_failed: None,
        }
    }

    /// Whether the next poll begins with the first object.
    pub fn is_at_start(&self) -> bool {
        self.after.is_at_start()
    }

    /// Tries the pending rows that are due. Returns how many were tried.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn write_pending(&self, stop: &CancellationToken) -> Result<usize, Error> {
        let (started, mut tried) = (Instant::now(), 0);
        while started.elapsed() < RUN && !stop.is_cancelled() {
            let targets = {
                let conn = self.executor.pool.get().await?;
                // Nearly always nothing is pending.
                if pending_projection::due(&conn, Blocked::default(), 1)
                    .await?
                    .is_empty()
                {
                    break;
                }
                let has_bookings = self.executor.look_for_bookings(&conn).await?;
                // Each row of a table that is locked would wait for the lock.
                let locked = read::locked_tables(&conn, has_bookings).await?;
                pending_projection::due(&conn, locked, PAGE).await?
            };
            if targets.is_empty() {
                break;
            }
            tried += targets.len();
            let began = Instant::now();
            let recheck = Recheck {
                targets,
                ..Recheck::default()
            };
            self.recheck(recheck, stop).await?;
            tokio::time::sleep(began.elapsed()).await;
        }
        Ok(tried)
    }

    /// Computes every invoice and session anew that waits and may wait no longer. Returns
    /// how many.
    ///
    /// # Errors
    /// The database is away. What was committed before stays.
    pub async fn poll_all(&mut self) -> Result<usize, Error> {
        self.poll(usize::MAX, &CancellationToken::new()).await
    }

    /// Looks at those of the newest bookings, and at some pages of all of them, from where
    /// the poll before ended; behind the last comes the first again. Returns how many were
    /// computed anew.
    ///
    /// # Errors
    /// The database is away. What was committed before stays.
    pub async fn poll(&mut self, pages: usize, stop: &CancellationToken) -> Result<usize, Error> {
        let mut rechecked = self.poll_newest(stop).await?;
        let pool = self.executor.pool.clone();
        for _ in 0..pages {
            let page = {
                let conn = pool.get().await?;
                let has_bookings = self.executor.look_for_bookings(&conn).await?;
                // The look would wait for the lock, and end in an error.
                if read::locked_tables(&conn, has_bookings).await?.bookings {
                    break;
                }
                waiting::due(&conn, has_bookings, &self.after, PAGE).await?
            };
            let page = match page {
                Some((page, last)) => Some((self.decidable(page).await?, last)),
                None => None,
            };
            let Some((objects, last)) = page else {
                self.after = waiting::Cursor::default();
                break;
            };
            self.after = last;
            rechecked += self.recheck_objects(objects, stop).await?;
        }
        Ok(rechecked)
    }

    /// Computes those of the main app's newest bookings anew.
    async fn poll_newest(&self, stop: &CancellationToken) -> Result<usize, Error> {
        let waiting = {
            let conn = self.executor.pool.get().await?;
            let has_bookings = self.executor.look_for_bookings(&conn).await?;
            if !has_bookings || read::locked_tables(&conn, has_bookings).await?.bookings {
                return Ok(0);
            }
            waiting::of_newest_bookings(&conn).await?
        };
        let objects = waiting.into_iter().map(|one| one.object);
        self.recheck_objects(objects.collect(), stop).await
    }

    /// Computes objects anew. Returns how many.
    async fn recheck_objects(
        &self,
        objects: BTreeSet<ObjectId>,
        stop: &CancellationToken,
    ) -> Result<usize, Error> {
        let count = objects.len();
        let recheck = Recheck {
            objects,
            ..Recheck::default()
        };
        if count > 0 {
            self.recheck(recheck, stop).await?;
        }
        Ok(count)
    }

    /// Computes objects and rows anew: together, else one by one for as long as a run takes. What
    /// the main app refuses only at the commit undoes everything in the transaction, and what ends
    /// the session does so as well, so that it shows which row it is only there.
    ///
    /// # Errors
    /// The database cannot be used.
    async fn recheck(&self, recheck: Recheck, stop: &CancellationToken) -> Result<(), Error> {
        match self.executor.recheck(&recheck).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_session_lost() => {
                if self.executor.wait_until_available(stop).await == Err(Stopped) {
                    return Err(error);
                }
            }
            Err(error) if error.is_unavailable() => return Err(error),
            Err(_) => {}
        }
        let started = Instant::now();
        for one in recheck.into_single() {
            if started.elapsed() >= RUN {
                break;
            }
            self.executor.recheck_one(&one, stop).await?;
        }
        Ok(())
    }

    /// Those whose booking is there, or whose owner is known now: the deployment's query is
    /// asked for a whole page at once where it can be, and without the writers' lock.
    async fn decidable(
        &mut self,
        page: Vec<waiting::Waiting>,
    ) -> Result<BTreeSet<ObjectId>, Error> {
        let bookings: BTreeSet<BookingId> = page.iter().filter_map(|one| one.owner_of).collect();
        let bookings: Vec<BookingId> = bookings.into_iter().collect();
        let query = self.executor.owner_query.as_deref();
        let mut conn = self.executor.pool.get().await?;
        let asked = store::transaction(&mut conn, async |tx| {
            read::owners(tx, query, &bookings).await
        });
        let (owners, failed) = match asked.await {
            // The query may be what ends it: those whose owner it does not say go on waiting.
            Err(error) if error.is_session_lost() => {
                (BTreeMap::new(), Some(savepoint::obstacle(&error)))
            }
            asked => asked?,
        };
        let is_to_say = |at: Instant| at.elapsed() >= WARN_EVERY;
        if let Some(obstacle) = failed
            && self.owner_query_failed.is_none_or(is_to_say)
        {
            self.owner_query_failed = Some(Instant::now());
            let reason = obstacle.reason.as_str();
            warn!(reason, "BOOKING_OWNER_QUERY fails for some bookings");
        }
        let is_decidable = |one: &waiting::Waiting| match one.owner_of {
            // Without a query the earliest claim decides.
            Some(_) if query.is_none() => true,
            Some(booking) => matches!(owners.get(&booking), Some(Owner::Account(_))),
            None => true,
        };
        let objects = page.into_iter().filter(is_decidable);
        Ok(objects.map(|one| one.object).collect())
    }
}
