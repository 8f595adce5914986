//! Sees that each delivery gets a decision, whatever is in the way.
//!
//! A batch that fails is tried again as a whole, because most failures pass. Then its
//! deliveries are tried one by one, so that one of them cannot hold up the rest.

use std::{
    panic::AssertUnwindSafe,
    slice,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::DateTime;
use domain::{event::Rejected, outcome::Decision, rejection::Rejection, working_set::Recheck};
use futures_util::FutureExt;
use prometheus_client::metrics::counter::Counter;
use shared::{clock, telemetry::report};
use store::{
    Connection, Error, Pool,
    archive_page::ArchivePolicy,
    main_app::booking::{self, Bookings},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    backoff::Backoff,
    pipeline::{
        delivery::Delivery,
        postgres::Postgres,
        process::{BatchResult, Work, process},
    },
};

/// Executes batches, one at a time.
#[derive(Clone, Debug)]
pub struct BatchExecutor {
    /// The database.
    pub pool: Pool,
    /// The deployment's query for a booking's account.
    pub owner_query: Option<String>,
    /// Whether the bytes of applied events are archived.
    pub archive: ArchivePolicy,
    /// Counts events that turn out to be refused after they were decided.
    pub refused_late: Counter,
    /// Whether the main app's bookings are in this database, as last seen.
    has_bookings: Arc<Mutex<Option<bool>>>,
}

/// How a delivery is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It is decided and committed: ack it.
    Ack(Decision),
    /// Somebody else is in its way: try it again later.
    Defer,
    /// Its handler panicked: return it to the queue, so that the delivery limit counts.
    Requeue,
}

/// The worker is to stop before a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// What one try came to; `None` where the handler panicked.
type Tried = Option<Result<BatchResult, Error>>;

impl BatchExecutor {
    /// An executor on this database.
    pub fn new(pool: Pool, owner_query: Option<String>, archive: ArchivePolicy) -> Self {
        Self {
            pool,
            owner_query,
            archive,
            refused_late: Counter::default(),
            has_bookings: Arc::default(),
        }
    }

    /// Executes a batch. While the database is away it waits, and holds the deliveries.
    ///
    /// # Errors
    /// [`Stopped`] if `stop` is cancelled while the database is away.
    pub async fn execute(
        &self,
        deliveries: &[Delivery],
        stop: &CancellationToken,
    ) -> Result<Vec<Disposition>, Stopped> {
        // Two tries together: most of what is in the way has gone by the second.
        for _ in 0..2 {
            match self.when_available(deliveries, stop).await? {
                Some(Ok(done)) => {
                    return Ok(done.decisions.into_iter().map(Disposition::Ack).collect());
                }
                Some(Err(error)) => {
                    let events = deliveries.len();
                    info!(events, reason = %report(&error), "a batch did not commit");
                }
                None => break,
            }
        }
        let mut dispositions = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            dispositions.push(self.execute_one(delivery, stop).await?);
        }
        Ok(dispositions)
    }

    /// Executes one delivery, with one try: somebody else was in its way before.
    ///
    /// # Errors
    /// [`Stopped`] if `stop` is cancelled while the database is away.
    pub async fn execute_one(
        &self,
        delivery: &Delivery,
        stop: &CancellationToken,
    ) -> Result<Disposition, Stopped> {
        let tried = self.when_available(slice::from_ref(delivery), stop).await?;
        let tried = match tried {
            Some(Err(Error::Refused { rule, .. })) => {
                let refused = refused_by_database(delivery, rule);
                self.when_available(slice::from_ref(&refused), stop).await?
            }
            tried => tried,
        };
        Ok(match tried {
            Some(Ok(mut done)) => {
                Disposition::Ack(done.decisions.pop().unwrap_or(Decision::Duplicate))
            }
            Some(Err(error)) => {
                let event = delivery.event_id().unwrap_or("unreadable");
                warn!(event, reason = %report(&error), "an event cannot be committed now");
                Disposition::Defer
            }
            None => Disposition::Requeue,
        })
    }

    /// Computes objects anew whose missing part may be there now. If that fails, one by
    /// one, so that one of them cannot hold up the rest. Returns the objects that could
    /// not be committed.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn recheck(&self, recheck: &Recheck) -> Result<Recheck, Error> {
        let mut failed = Recheck::default();
        if self.is_rechecked(recheck).await? {
            return Ok(failed);
        }
        for object in &recheck.0 {
            let one = Recheck([object.clone()].into());
            if !self.is_rechecked(&one).await? {
                failed.0.extend(one.0);
            }
        }
        Ok(failed)
    }

    /// Whether it was committed.
    async fn is_rechecked(&self, recheck: &Recheck) -> Result<bool, Error> {
        match self.try_once(&[], recheck).await {
            Some(Ok(_)) => Ok(true),
            Some(Err(error)) if error.is_unavailable() => Err(error),
            Some(Err(error)) => {
                let first = recheck.0.first().map(|object| object.as_str());
                let objects = recheck.0.len();
                warn!(objects, first, reason = %report(&error), "waiting objects cannot be rechecked now");
                Ok(false)
            }
            None => Ok(false),
        }
    }

    /// Waits until the database can be used.
    ///
    /// # Errors
    /// [`Stopped`] if `stop` is cancelled before.
    pub async fn wait_until_available(&self, stop: &CancellationToken) -> Result<(), Stopped> {
        self.when_available(&[], stop).await.map(drop)
    }

    /// Tries until the database is there.
    async fn when_available(
        &self,
        deliveries: &[Delivery],
        stop: &CancellationToken,
    ) -> Result<Tried, Stopped> {
        let mut backoff = Backoff::default();
        loop {
            let error = match self.try_once(deliveries, &Recheck::default()).await {
                Some(Err(error)) if error.is_unavailable() => error,
                tried => return Ok(tried),
            };
            warn!(reason = %report(&error), "the database is away; events wait in the queue");
            tokio::select! {
                () = backoff.pause() => {}
                () = stop.cancelled() => return Err(Stopped),
            }
        }
    }

    async fn try_once(&self, deliveries: &[Delivery], recheck: &Recheck) -> Tried {
        let work = Work {
            deliveries,
            recheck,
            archive: self.archive,
        };
        let tried = AssertUnwindSafe(self.commit(work)).catch_unwind().await;
        tried.ok()
    }

    async fn commit(&self, work: Work<'_>) -> Result<BatchResult, Error> {
        let mut conn = self.pool.get().await?;
        let seen = *self.seen();
        let are_here = match seen {
            Some(are_here) => are_here,
            None => self.look_for_bookings(&conn).await?,
        };
        let bookings = Bookings {
            are_here,
            owner_query: self.owner_query.as_deref(),
        };
        let now = DateTime::from_timestamp_millis(clock::now_unix_millis()).unwrap_or_default();
        let done = store::transaction(&mut conn, async |tx| {
            process(&Postgres::new(tx, bookings), work, now).await
        })
        .await;
        if done.is_err() {
            // The main app's tables may have come or gone.
            *self.seen() = None;
        }
        let done = done?;
        let late = u64::try_from(done.refused_late).unwrap_or(u64::MAX);
        self.refused_late.inc_by(late);
        Ok(done)
    }

    /// Looks whether the main app's bookings are in this database.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn look_for_bookings(&self, conn: &Connection) -> Result<bool, Error> {
        let are_here = booking::are_here(conn).await?;
        *self.seen() = Some(are_here);
        Ok(are_here)
    }

    fn seen(&self) -> MutexGuard<'_, Option<bool>> {
        self.has_bookings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The delivery as one that cannot be applied.
fn refused_by_database(delivery: &Delivery, rule: &'static str) -> Delivery {
    let header = delivery.header().cloned().map(Box::new);
    let rejection = Rejection::RefusedByDatabase { rule };
    Delivery {
        decoded: Err(Rejected { header, rejection }),
        ..delivery.clone()
    }
}
