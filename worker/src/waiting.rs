//! Joins waiting invoices as soon as their booking is there, and decides claims
//! as soon as the booking's account is known.
//!
//! A session or an event that was missing is noticed when it arrives. A booking
//! is made by the main app, which tells nobody, so it is looked for.

use std::time::Duration;

use shared::telemetry::report;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{failure::Failure, settle::Settler, store::invoice};

/// How often bookings are looked for.
const EVERY: Duration = Duration::from_secs(1);
/// The most invoices and sessions looked at in one transaction.
const AT_ONCE: i64 = 100;
/// The most transactions between two pauses. Invoices whose booking has no known
/// owner are all looked at, and a host can make as many as it likes: the next
/// look goes on where this one ended.
const PAGES: usize = 10;

/// Looks for bookings until `stop`.
pub async fn run(settler: &Settler, stop: &CancellationToken) {
    let mut after = String::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
        match look(settler, &mut after, PAGES).await {
            Ok(0) => {}
            Ok(objects) => debug!(objects, "looked again at what waits"),
            Err(failure) => warn!(reason = %report(&failure), "what waits must go on waiting"),
        }
    }
}

/// Looks once at every invoice and session whose booking may be there now. Gives back how
/// many were looked at.
///
/// # Errors
/// [`Failure`]; what was joined before stays joined.
pub async fn join(settler: &Settler) -> Result<usize, Failure> {
    look(settler, &mut String::new(), usize::MAX).await
}

/// Looks at some pages of them, from the first behind `after`, which is empty
/// again once the last was looked at. Gives back how many were looked at.
///
/// # Errors
/// [`Failure`]; what was joined before stays joined.
pub async fn look(settler: &Settler, after: &mut String, pages: usize) -> Result<usize, Failure> {
    let mut looked_at = 0;
    for _ in 0..pages {
        let due = {
            let conn = settler.pool.get().await?;
            let has_bookings = settler.look_for_bookings(&conn).await?;
            invoice::due(&conn, has_bookings, after, AT_ONCE).await?
        };
        let Some((again, last)) = due else {
            after.clear();
            break;
        };
        *after = last;
        looked_at += again.len();
        settler.look_again(&again).await?;
    }
    Ok(looked_at)
}
