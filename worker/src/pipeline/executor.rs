//! Sees that each delivery gets a decision, whatever is in the way.
//!
//! A batch that fails is tried again as a whole, because most failures pass. Then its
//! deliveries are tried one by one, so that one of them cannot hold up the rest.

use std::{borrow::Cow, panic::AssertUnwindSafe, slice};

use domain::{
    event::Rejected,
    main_app::{Obstacle, ObstacleReason},
    outcome::Decision,
    rejection::Rejection,
    source::Recheck,
};
use futures_util::FutureExt;
use prometheus_client::metrics::counter::Counter;
use shared::clock;
use store::{
    Connection, Error, Pool,
    archive_page::ArchivePolicy,
    crash_note,
    main_app::{
        LeftAlone,
        booking::{self, Bookings},
    },
    outbox::Outbox,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    backoff::Backoff,
    health::Health,
    pipeline::{
        delivery::Delivery,
        main_app::MainApp,
        postgres::Postgres,
        process::{BatchResult, Work, process},
        unknown_errors::{self, Failures, Sampler},
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
    /// Whether the main app is told of its rows' changes.
    pub outbox: Outbox,
    /// Hears of commits.
    pub health: Health,
    /// What was last seen of the main app's tables.
    pub(super) main_app: MainApp,
}

/// How a delivery is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It is decided and committed: ack it.
    Ack(Decision),
    /// Its handler panicked: return it to the queue.
    Requeue,
}

/// The worker is to stop before a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// After so many sessions that the same work lost it is tried without the main app's tables. One is
/// lost whenever the database goes away.
const LOST_SESSIONS: u32 = 2;

/// What a try does with the main app's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MainAppTables {
    /// It uses them, but for those that cost too much time a moment ago.
    Used,
    /// It leaves them alone: their rows become pending.
    LeftAlone,
}

/// What one try came to: `None` where a handler panicked, an error where the database was in the
/// way or refused something.
pub(super) type Tried<T> = Option<Result<T, Error>>;

impl BatchExecutor {
    /// An executor on this database, which tells the main app nothing.
    pub fn new(pool: Pool, owner_query: Option<String>, archive: ArchivePolicy) -> Self {
        Self {
            pool,
            owner_query,
            archive,
            refused_late: Counter::default(),
            outbox: Outbox::Off,
            health: Health::default(),
            main_app: MainApp::default(),
        }
    }

    /// Executes a batch. While the database is away, or somebody holds a lock of the
    /// worker's own tables, it waits and holds the deliveries.
    ///
    /// # Errors
    /// [`Stopped`] if `stop` is cancelled meanwhile.
    pub async fn execute(
        &self,
        deliveries: &[Delivery],
        stop: &CancellationToken,
    ) -> Result<Vec<Disposition>, Stopped> {
        // The batch is tried twice, because most obstacles have gone by the second try. That one
        // leaves the main app's tables alone, so that their refusal at the commit cannot fail it.
        for tables in [MainAppTables::Used, MainAppTables::LeftAlone] {
            match self.when_available(deliveries, tables, stop).await? {
                Some(Ok(done)) => {
                    return Ok(done.decisions.into_iter().map(Disposition::Ack).collect());
                }
                Some(Err(error)) => {
                    let events = deliveries.len();
                    info!(events, reason = %store::in_log(&error), "a batch did not commit");
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

    /// Tries a batch once, and waits for nothing that is in the way. `None` where the handler
    /// panics.
    ///
    /// # Errors
    /// What is in the way.
    pub async fn try_batch(&self, deliveries: &[Delivery]) -> Option<Result<Vec<Decision>, Error>> {
        let tried = self.try_once(deliveries, MainAppTables::Used).await?;
        Some(tried.map(|done| done.decisions))
    }

    /// Executes one delivery, until it is decided.
    async fn execute_one(
        &self,
        delivery: &Delivery,
        stop: &CancellationToken,
    ) -> Result<Disposition, Stopped> {
        let mut backoff = Backoff::default();
        let mut delivery = Cow::Borrowed(delivery);
        let mut tables = MainAppTables::Used;
        let mut failures = Failures::default();
        loop {
            match self
                .when_available(slice::from_ref(&*delivery), tables, stop)
                .await?
            {
                Some(Ok(mut done)) => {
                    let decision = done.decisions.pop().unwrap_or(Decision::Duplicate);
                    return Ok(Disposition::Ack(decision));
                }
                // It may be the main app that refuses the commit. An event is not condemned, and
                // does not wait, for that.
                Some(Err(_)) if tables == MainAppTables::Used => {
                    tables = MainAppTables::LeftAlone;
                }
                Some(Err(ref error @ Error::Refused { rule, .. })) if delivery.decoded.is_ok() => {
                    let event = delivery.event_id().unwrap_or("unreadable");
                    warn!(event, reason = %store::in_log(error), "the database refuses an event");
                    delivery = Cow::Owned(refused_by_database(&delivery, rule));
                    // The main app is not what refused it.
                    tables = MainAppTables::Used;
                }
                Some(Err(error)) => {
                    let event = delivery.event_id().unwrap_or("unreadable");
                    let reason = store::in_log(&error);
                    if delivery.decoded.is_ok()
                        && failures.are_enough(self.sampler(), &delivery, &error).await
                    {
                        warn!(
                            event,
                            reason, "an event cannot be committed while others can"
                        );
                        delivery = Cow::Owned(refused_by_database(&delivery, unknown_errors::RULE));
                        // The main app is not what refused it.
                        tables = MainAppTables::Used;
                        continue;
                    }
                    warn!(
                        event,
                        reason, "an event cannot be committed now; trying again"
                    );
                    pause(&mut backoff, stop).await?;
                }
                None => return Ok(Disposition::Requeue),
            }
        }
    }

    /// How it is seen whether the database takes other events than one that fails.
    pub(super) fn sampler(&self) -> Sampler<'_> {
        Sampler {
            pool: &self.pool,
            archive: self.archive,
            outbox: self.outbox,
        }
    }

    /// Waits until the database can be used.
    ///
    /// # Errors
    /// [`Stopped`] if `stop` is cancelled before.
    pub async fn wait_until_available(&self, stop: &CancellationToken) -> Result<(), Stopped> {
        let tables = MainAppTables::Used;
        self.when_available(&[], tables, stop).await.map(drop)
    }

    /// Tries until the database is there. A database that opens sessions may not be away: reading
    /// or writing a row of the main app's can end a session. So where that happens again, the next
    /// try leaves the main app's tables alone. Where the database is away, that try fails as well.
    async fn when_available(
        &self,
        deliveries: &[Delivery],
        tables: MainAppTables,
        stop: &CancellationToken,
    ) -> Result<Tried<BatchResult>, Stopped> {
        let mut backoff = Backoff::default();
        let (mut lost, mut this_time) = (0, tables);
        loop {
            let error = match self.try_once(deliveries, this_time).await {
                Some(Err(error)) if error.is_unavailable() => error,
                tried => {
                    if matches!(tried, Some(Ok(_))) && this_time == MainAppTables::LeftAlone {
                        self.main_app.undid_transaction();
                    }
                    return Ok(tried);
                }
            };
            lost = match this_time == tables {
                true => lost + u32::from(error.is_session_lost()),
                false => 0,
            };
            this_time = match lost >= LOST_SESSIONS {
                true => MainAppTables::LeftAlone,
                false => tables,
            };
            let reason = store::in_log(&error);
            match lost >= LOST_SESSIONS && tables == MainAppTables::Used {
                true => warn!(
                    reason,
                    "transactions end their sessions; trying without the main app's tables"
                ),
                false => warn!(reason, "the database is away; events wait in the queue"),
            }
            pause(&mut backoff, stop).await?;
        }
    }

    async fn try_once(&self, deliveries: &[Delivery], tables: MainAppTables) -> Tried<BatchResult> {
        let work = Work {
            deliveries,
            recheck: &Recheck::default(),
            archive: self.archive,
        };
        let left_alone = match tables {
            MainAppTables::Used => self.main_app.left_alone(),
            MainAppTables::LeftAlone => {
                let said = "a transaction with this row could not be committed";
                LeftAlone::all(Obstacle::new(ObstacleReason::NotTried, said))
            }
        };
        self.attempt(work, left_alone, &[]).await
    }

    /// Tries deliveries once whose try is noted; the notes go with the commit.
    pub(super) async fn try_noted(
        &self,
        deliveries: &[Delivery],
        notes: &[&str],
    ) -> Tried<Vec<Decision>> {
        let work = Work {
            deliveries,
            recheck: &Recheck::default(),
            archive: self.archive,
        };
        // A worker that is killed while it waits for the main app would look as though it
        // died of the events: a job writes the main app's rows.
        let said = "a worker may have died of the event";
        let left_alone = LeftAlone::all(Obstacle::new(ObstacleReason::NotTried, said));
        let tried = self.attempt(work, left_alone, notes).await?;
        Some(tried.map(|done| done.decisions))
    }

    /// Removes the notes of a try that ended otherwise than by a death, and was not committed.
    pub(super) async fn take_back(&self, notes: &[&str]) -> Result<(), Error> {
        let conn = self.pool.get().await?;
        crash_note::remove(&conn, notes).await
    }

    /// Commits the work, or says that a handler panicked.
    pub(super) async fn attempt(
        &self,
        work: Work<'_>,
        left_alone: LeftAlone,
        notes: &[&str],
    ) -> Tried<BatchResult> {
        let done = AssertUnwindSafe(self.commit(work, left_alone, notes)).catch_unwind();
        done.await.ok()
    }

    /// Commits the work, and with it the end of the notes of its try.
    async fn commit(
        &self,
        work: Work<'_>,
        left_alone: LeftAlone,
        notes: &[&str],
    ) -> Result<BatchResult, Error> {
        let mut conn = self.pool.get().await?;
        let are_here = match self.main_app.has_bookings() {
            Some(are_here) => are_here,
            None => self.look_for_bookings(&conn).await?,
        };
        let bookings = Bookings {
            are_here,
            owner_query: self.owner_query.as_deref(),
        };
        let now = clock::now_utc();
        let done: Result<_, Error> = store::transaction(&mut conn, async |tx| {
            let storage = Postgres::new(tx, bookings, &left_alone, self.outbox);
            let done = process(&storage, work, now).await?;
            if !notes.is_empty() {
                crash_note::remove(tx, notes).await?;
            }
            Ok(done)
        })
        .await;
        match &done {
            // Nothing was seen of the main app's tables.
            Ok(_) if !notes.is_empty() => {}
            Ok(done) => self.main_app.note(&done.saved.projected),
            Err(_) => self.main_app.forget(),
        }
        let done = done?;
        if !done.decisions.is_empty() {
            self.health.committed(Instant::now(), clock::now_unix());
        }
        let late = u64::try_from(done.saved.refused_late).unwrap_or(u64::MAX);
        self.refused_late.inc_by(late);
        Ok(done)
    }

    /// Looks whether the main app's bookings are in this database.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn look_for_bookings(&self, conn: &Connection) -> Result<bool, Error> {
        let are_here = booking::are_here(conn).await?;
        self.main_app.saw_bookings(are_here);
        Ok(are_here)
    }
}

async fn pause(backoff: &mut Backoff, stop: &CancellationToken) -> Result<(), Stopped> {
    tokio::select! {
        () = backoff.pause() => Ok(()),
        () = stop.cancelled() => Err(Stopped),
    }
}

/// The delivery as one that cannot be applied.
pub(super) fn refused_by_database(delivery: &Delivery, rule: &'static str) -> Delivery {
    let header = delivery.header().cloned().map(Box::new);
    let rejection = Rejection::RefusedByDatabase { rule };
    Delivery {
        decoded: Err(Rejected { header, rejection }),
        ..delivery.clone()
    }
}
