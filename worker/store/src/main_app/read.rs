//! Reads what the main app's tables say of bookings.
//!
//! The main app can hold a lock of its tables, or break the deployment's query. So the
//! statements have a savepoint and short limits of their own, and where they fail the
//! answer is what was in the way.

use std::{collections::BTreeMap, time::Duration};

use diesel_async::SimpleAsyncConnection;
use domain::{
    ids::BookingId,
    main_app::{AppBooking, Obstacle, ObstacleReason},
    ownership::Owner,
};
use futures_util::try_join;
use tokio::time::Instant;

use crate::{
    Connection, Result,
    main_app::{
        Blocked,
        booking::{self, Bookings},
        invoice,
    },
    savepoint,
};

/// How long bookings are read in parts, in one transaction: everybody waits meanwhile.
const IN_PARTS: Duration = Duration::from_secs(1);

/// What the main app's tables say of bookings.
#[derive(Debug)]
pub(crate) struct Read {
    /// Each booking that was asked for.
    pub(crate) bookings: BTreeMap<BookingId, AppBooking>,
    /// What is in the way of every booking, where something is.
    pub(crate) in_everybodys_way: Option<Obstacle>,
    /// Whether [`savepoint::leave`] has to be sent before anything else.
    pub(crate) is_in_savepoint: bool,
}

/// What the main app's tables say of the bookings: of all at once, and where that fails, of some
/// after the others, so that one that cannot be read is in nobody else's way.
///
/// # Errors
/// The database cannot be used.
pub(crate) async fn bookings(
    conn: &Connection,
    how: Bookings<'_>,
    ids: &[BookingId],
) -> Result<Read> {
    let mut bookings = BTreeMap::new();
    let mut parts = Parts::of(ids, IN_PARTS);
    let mut is_in_savepoint = false;
    while let Some(part) = parts.next() {
        if is_in_savepoint {
            savepoint::leave(conn).await?;
        }
        let read = part_of_bookings(conn, how, part).await?;
        is_in_savepoint = read.is_ok();
        match read {
            Ok(read) => {
                bookings.extend(read);
                parts.answered(part);
            }
            Err(obstacle) => parts.failed(part, obstacle),
        }
    }
    for (id, obstacle) in &parts.not_read {
        bookings.insert(*id, unreadable(how, obstacle));
    }
    Ok(Read {
        bookings,
        in_everybodys_way: parts.in_everybodys_way,
        is_in_savepoint,
    })
}

/// Leaves the savepoint open where it succeeds.
async fn part_of_bookings(
    conn: &Connection,
    how: Bookings<'_>,
    ids: &[BookingId],
) -> Result<std::result::Result<Vec<(BookingId, AppBooking)>, Obstacle>> {
    let keys: Vec<i32> = ids.iter().map(|booking| booking.0).collect();
    let reads = async || {
        try_join!(
            invoice::load(conn, &keys),
            booking::existing(conn, how.are_here, &keys),
            booking::owners(conn, how.owner_query, &keys),
        )
    };
    let limits = match ids.len() {
        1 => savepoint::ONE_ROW,
        _ => savepoint::MANY_ROWS,
    };
    let read = savepoint::enter(conn, limits, reads).await?;
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

/// Whose the bookings are by the deployment's query, and why it does not say it of some, where it
/// does not. Within a transaction.
///
/// # Errors
/// The database cannot be used.
pub async fn owners(
    conn: &Connection,
    query: Option<&str>,
    ids: &[BookingId],
) -> Result<(BTreeMap<BookingId, Owner>, Option<Obstacle>)> {
    let mut owners = BTreeMap::new();
    let mut parts = Parts::of(ids, IN_PARTS);
    while let Some(part) = parts.next() {
        let keys: Vec<i32> = part.iter().map(|booking| booking.0).collect();
        let ask = async || booking::owners(conn, query, &keys).await;
        match savepoint::within(conn, savepoint::MANY_ROWS, ask).await? {
            Ok(read) => {
                owners.extend(read);
                parts.answered(part);
            }
            Err(obstacle) => parts.failed(part, obstacle),
        }
    }
    let why = parts.not_read.into_iter().next();
    Ok((owners, why.map(|(_, obstacle)| obstacle)))
}

/// A question about bookings: about all at once; where that fails, about one, two, four and so
/// on, and about one again where that fails.
#[derive(Debug)]
pub(super) struct Parts<'i> {
    rest: &'i [BookingId],
    size: usize,
    time: Duration,
    /// When `time` is over, since the first failure.
    end: Option<Instant>,
    /// The bookings of which nothing is known, and why.
    pub(super) not_read: Vec<(BookingId, Obstacle)>,
    /// Why nothing is asked any more, where something is in everybody's way.
    pub(super) in_everybodys_way: Option<Obstacle>,
}

impl<'i> Parts<'i> {
    /// About these bookings. `time` is how long some are asked for after a failure.
    pub(super) fn of(ids: &'i [BookingId], time: Duration) -> Self {
        Self {
            rest: ids,
            size: ids.len(),
            time,
            end: None,
            not_read: Vec::new(),
            in_everybodys_way: None,
        }
    }

    /// The bookings to ask for next; `None` where all are answered or have failed.
    pub(super) fn next(&mut self) -> Option<&'i [BookingId]> {
        if self.end.is_some_and(|end| Instant::now() >= end) && !self.rest.is_empty() {
            let said = "other bookings took the time of the transaction";
            self.give_up(Obstacle::new(ObstacleReason::NotTried, said));
        }
        let part = &self.rest[..self.size.min(self.rest.len())];
        (!part.is_empty()).then_some(part)
    }

    /// The part was answered.
    pub(super) fn answered(&mut self, part: &[BookingId]) {
        self.rest = &self.rest[part.len()..];
        self.size = self.size.saturating_mul(2);
    }

    /// The part was not answered.
    pub(super) fn failed(&mut self, part: &[BookingId], obstacle: Obstacle) {
        self.end.get_or_insert_with(|| Instant::now() + self.time);
        // A row that somebody has locked can be read: it is the whole table that cannot.
        if obstacle.reason == ObstacleReason::Locked {
            return self.give_up(obstacle);
        }
        self.size = 1;
        if let [one] = part {
            self.not_read.push((*one, obstacle));
            self.rest = &self.rest[1..];
        }
    }

    fn give_up(&mut self, obstacle: Obstacle) {
        let rest = std::mem::take(&mut self.rest);
        let rest = rest.iter().map(|id| (*id, obstacle.clone()));
        self.not_read.extend(rest);
        self.in_everybodys_way = Some(obstacle);
    }
}

/// A booking that could not be read.
pub(crate) fn unreadable(how: Bookings<'_>, obstacle: &Obstacle) -> AppBooking {
    AppBooking {
        configured_owner: how.owner_query.map(|_| Owner::Unknown),
        obstacle: Some(obstacle.clone()),
        ..AppBooking::default()
    }
}

/// Of which tables somebody holds a lock as a whole, so that no row of them can be read or
/// written now. Waits a few milliseconds at most. Not within a transaction.
///
/// # Errors
/// The database cannot be used.
pub async fn locked_tables(conn: &Connection, has_bookings: bool) -> Result<Blocked> {
    let bookings = match has_bookings {
        true => "LOCK TABLE \"Booking\" IN ACCESS SHARE MODE; ",
        false => "",
    };
    let invoices = "LOCK TABLE \"Invoice\" IN ROW EXCLUSIVE MODE";
    let hosts = "LOCK TABLE \"HostOnboarding\" IN ROW EXCLUSIVE MODE";
    Ok(Blocked {
        bookings: is_refused(conn, &format!("{bookings}{invoices}")).await?,
        hosts: is_refused(conn, hosts).await?,
    })
}

/// Whether somebody holds what `lock` asks for.
async fn is_refused(mut conn: &Connection, lock: &str) -> Result<bool> {
    let probe = format!("BEGIN; SET LOCAL lock_timeout = '20ms'; {lock}; ROLLBACK");
    match conn.batch_execute(&probe).await.map_err(crate::Error::from) {
        Ok(()) => Ok(false),
        Err(error) if error.is_unavailable() => Err(error),
        Err(error) => {
            conn.batch_execute("ROLLBACK").await?;
            Ok(savepoint::obstacle(&error).reason == ObstacleReason::Locked)
        }
    }
}
