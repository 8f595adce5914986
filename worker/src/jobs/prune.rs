//! Removes rows that are older than they have to be kept: by the running worker once an
//! hour, and by the command.

use std::time::Duration;

use store::{
    Pool,
    retention::{self, Kind},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    config::Retention,
    jobs::{Job, JobError},
};

/// The most rows removed in one transaction, so that nobody waits for it.
const BATCH: i64 = 1000;
/// How many days news is kept that was published: a main app that was away for longer reads the
/// tables instead.
const NEWS_DAYS: i32 = 7;
/// The pause between two batches: the disk is for events first.
const PAUSE: Duration = Duration::from_millis(50);

/// The job.
#[derive(Debug)]
pub struct Prune {
    /// The database.
    pub pool: Pool,
    /// How long rows are kept.
    pub retention: Retention,
}

impl Job for Prune {
    const NAME: &'static str = "prune";
    const EVERY: Duration = Duration::from_secs(3600);

    async fn run_once(&mut self, stop: &CancellationToken) -> Result<(), JobError> {
        let mut first_error = Ok(());
        for kind in Kind::ALL {
            match prune(&self.pool, kind, days(self.retention, kind), stop).await {
                Ok(0) => {}
                Ok(removed) => info!(removed, "pruned {}", kind.name()),
                Err(error) if first_error.is_ok() => first_error = Err(error.into()),
                Err(_) => {}
            }
        }
        first_error
    }
}

/// After how many days rows of this kind are removed.
pub fn days(retention: Retention, kind: Kind) -> i32 {
    match kind {
        Kind::Bodies => retention.events_days.into(),
        Kind::Ledger | Kind::DeadLetters | Kind::Replays => retention.ledger_days.into(),
        Kind::News => NEWS_DAYS,
    }
}

/// Removes all rows that are older, batch by batch, until `stop`. Returns how many.
///
/// # Errors
/// The database; the rows removed before stay removed.
pub async fn prune(
    pool: &Pool,
    kind: Kind,
    days: i32,
    stop: &CancellationToken,
) -> store::Result<usize> {
    let mut removed = 0;
    while !stop.is_cancelled() {
        let batch = {
            let conn = pool.get().await?;
            retention::remove(&conn, kind, days, BATCH).await?
        };
        removed += batch;
        if i64::try_from(batch).is_ok_and(|batch| batch < BATCH) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(removed)
}
