//! Sees that every delivery gets a verdict, whatever is in the way.
//!
//! A unit that fails is tried again as a whole, because most failures pass.
//! Then its deliveries are tried one by one, so that one of them cannot hold up
//! the rest.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::DateTime;
use diesel::QueryResult;
use diesel_async::{AsyncPgConnection, pooled_connection::bb8::Pool};
use futures_util::FutureExt;
use prometheus_client::metrics::counter::Counter;
use shared::{clock, telemetry::report};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    backoff::Backoff,
    events::{rejection::Rejection, verdict::Verdict, world::Again},
    failure::Failure,
    keep::Keep,
    process::{Item, Unit, process},
    store::{app, stored::Bookings},
};

/// What every unit needs.
#[derive(Clone, Debug)]
pub struct Settler {
    /// The database.
    pub pool: Pool<AsyncPgConnection>,
    /// The deployment's query for a booking's account.
    pub owner_query: Option<String>,
    /// Whether the bytes of what is applied are kept.
    pub keep: Keep,
    /// Counts events that turn out to be refused after they had their verdict.
    pub refused_late: Counter,
    /// Whether the main app's bookings are in this database, as last seen.
    has_bookings: Arc<Mutex<Option<bool>>>,
}

/// How a delivery is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It has a verdict.
    Verdict(Verdict),
    /// Something is in its way: set it aside and try again later.
    Held,
    /// Its handler panicked: give it back, so that the delivery limit counts.
    Crashed,
}

/// The worker is to stop before a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl Settler {
    /// A settler on this database.
    pub fn new(pool: Pool<AsyncPgConnection>, owner_query: Option<String>, keep: Keep) -> Self {
        Self {
            pool,
            owner_query,
            keep,
            refused_late: Counter::default(),
            has_bookings: Arc::default(),
        }
    }

    /// Settles deliveries. While the database is away it waits, and holds them.
    ///
    /// # Errors
    /// [`Stopped`] if `stop` is cancelled while the database is away.
    pub async fn settle(
        &self,
        items: &[Item],
        stop: &CancellationToken,
    ) -> Result<Vec<Settlement>, Stopped> {
        if let Some(settled) = self.together(items, stop).await? {
            return Ok(settled);
        }
        let mut settled = Vec::with_capacity(items.len());
        for item in items {
            settled.push(self.alone(item, stop).await?);
        }
        Ok(settled)
    }

    /// Settles one delivery, with one try: something was in its way before.
    ///
    /// # Errors
    /// [`Stopped`] if `stop` is cancelled while the database is away.
    pub async fn settle_one(
        &self,
        item: &Item,
        stop: &CancellationToken,
    ) -> Result<Settlement, Stopped> {
        self.alone(item, stop).await
    }

    /// Looks at objects again whose missing part may be there now. If that fails,
    /// one by one, so that one of them cannot hold up the rest. Gives back those
    /// that something is in the way of.
    ///
    /// # Errors
    /// [`Failure::Away`].
    pub async fn look_again(&self, again: &Again) -> Result<Again, Failure> {
        let mut passed_over = Again::default();
        if self.looked_again(again).await? {
            return Ok(passed_over);
        }
        for one in again.each() {
            if !self.looked_again(&one).await? {
                passed_over.extend(one);
            }
        }
        Ok(passed_over)
    }

    /// Whether that was committed.
    async fn looked_again(&self, again: &Again) -> Result<bool, Failure> {
        let unit = Unit {
            items: &[],
            again,
            keep: self.keep,
        };
        match AssertUnwindSafe(self.once(unit)).catch_unwind().await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(failure @ Failure::Away(_))) => Err(failure),
            Ok(Err(failure)) => {
                let first = again.ids().next();
                let objects = again.len();
                warn!(objects, first, reason = %report(&failure), "what waits cannot be looked at now");
                Ok(false)
            }
            Err(_panic) => Ok(false),
        }
    }

    /// Waits until the database can be used.
    ///
    /// # Errors
    /// [`Stopped`] if `stop` is cancelled before.
    pub async fn wait_until_there(&self, stop: &CancellationToken) -> Result<(), Stopped> {
        let nothing = Unit {
            items: &[],
            again: &Again::default(),
            keep: self.keep,
        };
        self.when_there(nothing, stop).await.map(drop)
    }

    /// `None` if the deliveries have to be tried one by one.
    async fn together(
        &self,
        items: &[Item],
        stop: &CancellationToken,
    ) -> Result<Option<Vec<Settlement>>, Stopped> {
        let unit = Unit {
            items,
            again: &Again::default(),
            keep: self.keep,
        };
        for _ in 0..2 {
            match self.when_there(unit, stop).await? {
                Some(Ok(verdicts)) => {
                    return Ok(Some(
                        verdicts.into_iter().map(Settlement::Verdict).collect(),
                    ));
                }
                Some(Err(failure)) => {
                    info!(events = items.len(), reason = %report(&failure), "a unit did not commit");
                }
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    async fn alone(&self, item: &Item, stop: &CancellationToken) -> Result<Settlement, Stopped> {
        let unit = Unit {
            items: std::slice::from_ref(item),
            again: &Again::default(),
            keep: self.keep,
        };
        Ok(match self.when_there(unit, stop).await? {
            Some(Ok(mut verdicts)) => {
                Settlement::Verdict(verdicts.pop().unwrap_or(Verdict::Duplicate))
            }
            Some(Err(Failure::Refused { kind, .. })) => {
                Settlement::Verdict(Verdict::Dead(Rejection::RefusedByDatabase { kind }))
            }
            Some(Err(failure)) => {
                warn!(reason = %report(&failure), "an event cannot be committed now");
                Settlement::Held
            }
            None => Settlement::Crashed,
        })
    }

    /// Tries until the database is there; `None` if the handler panicked.
    async fn when_there(
        &self,
        unit: Unit<'_>,
        stop: &CancellationToken,
    ) -> Result<Option<Result<Vec<Verdict>, Failure>>, Stopped> {
        let mut backoff = Backoff::default();
        loop {
            let failure = match AssertUnwindSafe(self.once(unit)).catch_unwind().await {
                Ok(Err(failure @ Failure::Away(_))) => failure,
                Ok(done) => return Ok(Some(done)),
                Err(_panic) => return Ok(None),
            };
            warn!(reason = %report(&failure), "the database is away; events wait in the queue");
            tokio::select! {
                () = backoff.pause() => {}
                () = stop.cancelled() => return Err(Stopped),
            }
        }
    }

    async fn once(&self, unit: Unit<'_>) -> Result<Vec<Verdict>, Failure> {
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
        let done = process(&mut conn, bookings, unit, now).await;
        if done.is_err() {
            // The main app's tables may have come or gone.
            *self.seen() = None;
        }
        let done = done?;
        let late = u64::try_from(done.refused_late).unwrap_or(u64::MAX);
        self.refused_late.inc_by(late);
        Ok(done.verdicts)
    }

    /// Looks whether the main app's bookings are in this database.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn look_for_bookings(&self, conn: &AsyncPgConnection) -> QueryResult<bool> {
        let are_here = app::has_bookings(conn).await?;
        *self.seen() = Some(are_here);
        Ok(are_here)
    }

    fn seen(&self) -> MutexGuard<'_, Option<bool>> {
        self.has_bookings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
