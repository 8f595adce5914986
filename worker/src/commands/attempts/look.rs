//! Looks in Stripe's lists for what an attempt may have made.

use std::time::Duration;

use domain::rules::ATTEMPT_KEY;
use store::command::Record;
use tracing::warn;

use super::{Ended, Maker, OUTLIVED, nothing_now};
use crate::{commands::error::CommandError, stripe::error::ApiError};

/// By how much Stripe's clock may differ from the database's, in seconds.
const CLOCKS_DIFFER: i64 = 300;
/// A day, in seconds.
const DAY: i64 = 24 * 3600;

/// The mark of the attempt; `None` where an earlier version of the worker began it.
fn mark(record: &Record) -> Option<&str> {
    record.request.as_ref()?["metadata"][ATTEMPT_KEY].as_str()
}

/// Looks at Stripe whether an attempt made something.
pub(super) async fn look(record: &Record, maker: &impl Maker) -> Result<Option<String>, ApiError> {
    let mark = mark(record);
    // The mark is of this attempt alone, so no clock has to be trusted.
    let earlier = mark.map_or(CLOCKS_DIFFER, |_| DAY);
    let since = record.attempted_at.timestamp() - earlier;
    maker.look(record, mark, since).await
}

/// As [`look`], of an attempt whose key Stripe may have forgotten.
pub(super) async fn look_late(
    record: &Record,
    age: Duration,
    maker: &impl Maker,
) -> Result<Ended, CommandError> {
    match look(record, maker).await {
        Ok(found) => Ok(found.map_or_else(nothing_now, Ended::Made)),
        // The account has left: what may have been made on it can be used no more.
        Err(ApiError::Refused(refusal))
            if age > OUTLIVED && matches!(refusal.status, 403 | 404) =>
        {
            warn!(%refusal, "Stripe does not say what came of an attempt; it is given up");
            Ok(nothing_now())
        }
        Err(error) => Err(error.into()),
    }
}
