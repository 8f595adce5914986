//! Reads what the main app's tables say of bookings.
//!
//! The main app can hold a lock of its tables, or break the deployment's query. So the
//! statements have a savepoint and short limits of their own, and where they fail the
//! answer is what was in the way.

use std::collections::BTreeMap;

use diesel_async::SimpleAsyncConnection;
use domain::{
    ids::BookingId,
    main_app::{AppBooking, Obstacle, ObstacleReason},
    ownership::Owner,
};
use futures_util::try_join;

use crate::{
    Connection, Result,
    main_app::{
        booking::{self, Bookings},
        invoice,
    },
    savepoint,
};

/// What the main app's tables say of the bookings.
///
/// # Errors
/// The database cannot be used.
pub(crate) async fn bookings(
    conn: &Connection,
    how: Bookings<'_>,
    ids: &[BookingId],
) -> Result<std::result::Result<BTreeMap<BookingId, AppBooking>, Obstacle>> {
    let keys: Vec<i32> = ids.iter().map(|booking| booking.0).collect();
    let reads = async || {
        try_join!(
            invoice::load(conn, &keys),
            booking::existing(conn, how.are_here, &keys),
            booking::owners(conn, how.owner_query, &keys),
        )
    };
    let read = savepoint::within(conn, savepoint::MANY_ROWS, reads).await?;
    Ok(read.map(|(mut rows, existing, mut owners)| {
        let booking = |id: &BookingId| {
            let owner = |_| owners.remove(id).unwrap_or(Owner::Unknown);
            let configured_owner = how.owner_query.map(owner);
            let app = AppBooking {
                exists: existing.contains(id),
                configured_owner,
                row: rows.remove(id),
                obstacle: None,
            };
            (*id, app)
        };
        ids.iter().map(booking).collect()
    }))
}

/// Bookings that could not be read.
pub(crate) fn unreadable(
    how: Bookings<'_>,
    ids: &[BookingId],
    obstacle: &Obstacle,
) -> BTreeMap<BookingId, AppBooking> {
    let booking = |id: &BookingId| {
        let app = AppBooking {
            configured_owner: how.owner_query.map(|_| Owner::Unknown),
            obstacle: Some(obstacle.clone()),
            ..AppBooking::default()
        };
        (*id, app)
    };
    ids.iter().map(booking).collect()
}

/// Whether somebody holds a lock of a whole table, so that no row of it can be read or
/// written now. Waits a few milliseconds at most. Not within a transaction.
///
/// # Errors
/// The database cannot be used.
pub async fn is_locked(mut conn: &Connection, has_bookings: bool) -> Result<bool> {
    let bookings = if has_bookings {
        "LOCK TABLE \"Booking\" IN ACCESS SHARE MODE; "
    } else {
        ""
    };
    let probe = format!(
        "BEGIN; SET LOCAL lock_timeout = '20ms'; {bookings}\
         LOCK TABLE \"Invoice\", \"HostOnboarding\" IN ROW EXCLUSIVE MODE; ROLLBACK"
    );
    match conn.batch_execute(&probe).await.map_err(crate::Error::from) {
        Ok(()) => Ok(false),
        Err(error) => {
            let obstacle = savepoint::obstacle(error)?;
            conn.batch_execute("ROLLBACK").await?;
            Ok(obstacle.reason == ObstacleReason::Locked)
        }
    }
}
