//! Joins waiting invoices as soon as their booking is there.
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
/// The most invoices looked at in one transaction.
const AT_ONCE: i64 = 200;

/// Looks for bookings until `stop`.
pub async fn run(settler: &Settler, stop: &CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
        match join(settler).await {
            Ok(0) => {}
            Ok(invoices) => debug!(invoices, "looked at waiting invoices again"),
            Err(failure) => warn!(reason = %report(&failure), "waiting invoices must wait"),
        }
    }
}

/// Looks once at every invoice whose booking may be there now. Gives back how
/// many were looked at.
///
/// # Errors
/// [`Failure`]; what was joined before stays joined.
pub async fn join(settler: &Settler) -> Result<usize, Failure> {
    let (mut after, mut looked_at) = (String::new(), 0);
    loop {
        let due = {
            let conn = settler.pool.get().await?;
            let has_bookings = settler.look_for_bookings(&conn).await?;
            invoice::due(&conn, has_bookings, &after, AT_ONCE).await?
        };
        let Some(last) = due.last() else {
            return Ok(looked_at);
        };
        after.clone_from(last);
        looked_at += due.len();
        settler.look_again(&due).await?;
    }
}
