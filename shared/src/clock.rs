//! The one reader of the wall clock. Everything else is told the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};

#[allow(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock"
)]
fn since_epoch() -> Duration {
    // A clock before 1970 is broken: signatures are then too old or too new
    // and refused, which is the safe side.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Seconds since 1970, UTC.
#[must_use]
pub fn now_unix() -> i64 {
    i64::try_from(since_epoch().as_secs()).unwrap_or(i64::MAX)
}

/// Milliseconds since 1970, UTC.
#[must_use]
pub fn now_unix_millis() -> i64 {
    i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX)
}

/// Now, to the millisecond.
#[must_use]
pub fn now_utc() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(now_unix_millis()).unwrap_or_default()
}
