//! Retention: by the command, and by the running worker once an hour.

use std::time::Duration;

use diesel_async::{AsyncPgConnection, pooled_connection::bb8::Pool};
use shared::telemetry::report;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    failure::Failure,
    settings::Retention,
    store::retention::{self, Kind},
};

/// How often the running worker prunes.
const EVERY: Duration = Duration::from_secs(3600);
/// The most rows removed in one transaction, so that nobody waits for it.
const BATCH: i64 = 1000;
/// The pause between two batches: the disk is for events first.
const PAUSE: Duration = Duration::from_millis(50);

/// After how many days this is removed.
pub fn days(retention: Retention, kind: Kind) -> i32 {
    match kind {
        Kind::Bodies => retention.events_days.into(),
        Kind::Ledger | Kind::DeadLetters | Kind::Replays => retention.ledger_days.into(),
    }
}

/// Prunes at start and every hour until `stop`.
pub async fn run(pool: &Pool<AsyncPgConnection>, retention: Retention, stop: &CancellationToken) {
    loop {
        for kind in Kind::ALL {
            match all(pool, kind, days(retention, kind), stop).await {
                Ok(0) => {}
                Ok(removed) => info!(removed, "pruned {}", kind.name()),
                Err(failure) => warn!(reason = %report(&failure), "could not prune"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Removes all that is older, batch by batch, until `stop`. Gives back how many.
///
/// # Errors
/// [`Failure`]; what was removed before stays removed.
pub async fn all(
    pool: &Pool<AsyncPgConnection>,
    kind: Kind,
    days: i32,
    stop: &CancellationToken,
) -> Result<usize, Failure> {
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
