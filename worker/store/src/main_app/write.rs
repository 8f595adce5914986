//! Writes what has changed to the main app's tables, as far as the main app lets it.
//!
//! All rows are written together. Where one of them is refused or locked, those that
//! somebody has locked are found with one statement, and the rest is written one by one,
//! for a limited time. What could not be written is given back: it becomes pending, and the
//! job `project_pending` tries it again.
//!
//! The news of a row is written within the savepoint of the row: what is not written makes none.
//! A booking can have news although its row stays as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use domain::{
    ids::BookingId,
    main_app::{AppChanges, Obstacle, ObstacleReason},
    news::BookingNews,
    rows::HostRow,
};
use futures_util::try_join;
use tokio::time::Instant;

use crate::{
    Result, WriteTx,
    main_app::{Blocked, host, invoice, row::Row, tell},
    pending_projection::Failed,
    savepoint::{self, Limits},
};

/// How long rows are tried one by one in one transaction: everybody waits meanwhile.
const ONE_BY_ONE: Duration = Duration::from_millis(250);

/// What rows are written with.
#[derive(Clone, Copy)]
struct Writer<'a> {
    tx: &'a WriteTx<'a>,
    now: DateTime<Utc>,
    /// The news of bookings; `None` where the main app is told nothing.
    news: Option<&'a BTreeMap<BookingId, BookingNews>>,
}

/// What could not be written.
#[derive(Debug, Default)]
pub struct NotWritten {
    /// The rows.
    pub failed: Vec<Failed>,
    /// The tables that cost more time than there is.
    pub blocked: Blocked,
}

/// Writes the rows of bookings, and those of `hosts`.
///
/// # Errors
/// The database cannot be used.
pub(crate) async fn write(
    tx: &WriteTx<'_>,
    changes: &AppChanges,
    hosts: &[HostRow],
    now: DateTime<Utc>,
) -> Result<NotWritten> {
    let AppChanges {
        insert,
        update,
        delete,
        hosts: _,
        unreadable: _,
        was_pending,
        news,
    } = changes;
    let writer = Writer {
        tx,
        now,
        news: news.as_ref(),
    };
    let mut rows: Vec<Row<'_>> = Vec::new();
    rows.extend(insert.iter().map(Row::Insert));
    rows.extend(update.iter().map(Row::Update));
    let deleted = delete.iter();
    rows.extend(deleted.map(|(booking, invoice)| Row::Delete(*booking, invoice)));
    let written: BTreeSet<BookingId> = rows.iter().filter_map(|row| row.booking()).collect();
    let unchanged = news.iter().flatten();
    let unchanged = unchanged.filter(|(booking, _)| !written.contains(booking));
    rows.extend(unchanged.filter_map(|(booking, news)| {
        let refund = news.refund.as_ref()?;
        Some(Row::Unchanged(*booking, refund))
    }));
    let of_bookings = rows.len();
    rows.extend(hosts.iter().map(Row::Host));
    // What was in the way of a pending row is likely to be there still.
    let is_pending = rows.iter().any(|row| was_pending.contains(&row.target()));
    let together = match is_pending {
        true => None,
        false => Some(writer.attempt(&rows, savepoint::MANY_ROWS).await?),
    };
    match together {
        Some(Ok(())) => Ok(NotWritten::default()),
        Some(Err(obstacle)) if rows.len() == 1 => Ok(NotWritten {
            failed: rows
                .iter()
                .map(|row| row.failed(obstacle.clone()))
                .collect(),
            blocked: Blocked::default(),
        }),
        // What is in the way of one table is in nobody's of the other.
        Some(Err(_)) | None => {
            let hosts = rows.split_off(of_bookings);
            let (mut failed, bookings_blocked) = separate(writer, rows).await?;
            let (hosts_failed, hosts_blocked) = separate(writer, hosts).await?;
            failed.extend(hosts_failed);
            Ok(NotWritten {
                failed,
                blocked: Blocked {
                    bookings: bookings_blocked,
                    hosts: hosts_blocked,
                },
            })
        }
    }
}

/// Writes the rows of one table that nobody has locked: together, else one by one. Returns
/// what could not be written, and whether the table costs more time than there is.
async fn separate(writer: Writer<'_>, rows: Vec<Row<'_>>) -> Result<(Vec<Failed>, bool)> {
    if rows.is_empty() {
        return Ok((Vec::new(), false));
    }
    let free = match free(writer.tx, &rows).await? {
        Ok(free) => free,
        // The whole table is locked.
        Err(obstacle) => {
            let failed = rows.iter().map(|row| row.failed(obstacle.clone()));
            return Ok((failed.collect(), true));
        }
    };
    let (rows, locked): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| free(row));
    let is_locked = Obstacle::new(
        ObstacleReason::Locked,
        "another transaction has locked the row",
    );
    let locked = locked.iter().map(|row| row.failed(is_locked.clone()));
    let mut failed: Vec<Failed> = locked.collect();
    if writer.attempt(&rows, savepoint::MANY_ROWS).await?.is_ok() {
        return Ok((failed, false));
    }
    let started = Instant::now();
    let mut is_blocked = false;
    for row in rows {
        let tried = match started.elapsed() < ONE_BY_ONE {
            true => writer.attempt(&[row], savepoint::ONE_ROW).await?,
            false => {
                is_blocked = true;
                let said = "other rows took the time of the transaction";
                Err(Obstacle::new(ObstacleReason::NotTried, said))
            }
        };
        failed.extend(tried.err().map(|obstacle| row.failed(obstacle)));
    }
    Ok((failed, is_blocked))
}

/// Which rows nobody else has locked, new ones among them.
async fn free(
    tx: &WriteTx<'_>,
    rows: &[Row<'_>],
) -> Result<std::result::Result<impl Fn(&Row<'_>) -> bool + use<>, Obstacle>> {
    let known = |row: &Row<'_>| match row {
        Row::Update(row) => Some(row.booking_id.0),
        Row::Delete(booking, _) => Some(booking.0),
        Row::Insert(_) | Row::Host(_) | Row::Unchanged(..) => None,
    };
    let bookings: Vec<i32> = rows.iter().filter_map(known).collect();
    let accounts = rows.iter().filter_map(|row| match row {
        Row::Host(host) => Some(host.account.as_str()),
        Row::Insert(_) | Row::Update(_) | Row::Delete(..) | Row::Unchanged(..) => None,
    });
    let accounts: Vec<&str> = accounts.collect();
    let look = async || {
        try_join!(
            invoice::lock_free(tx, &bookings),
            host::locked(tx, &accounts),
        )
    };
    let found = savepoint::within(tx, savepoint::MANY_ROWS, look).await?;
    Ok(found.map(|(free, locked_hosts)| {
        move |row: &Row<'_>| match row {
            Row::Insert(_) | Row::Unchanged(..) => true,
            Row::Update(row) => free.contains(&row.booking_id.0),
            Row::Delete(booking, _) => free.contains(&booking.0),
            Row::Host(host) => !locked_hosts.contains(host.account.as_str()),
        }
    }))
}

impl Writer<'_> {
    /// Writes the rows and their news, all or none.
    async fn attempt(
        self,
        rows: &[Row<'_>],
        limits: Limits,
    ) -> Result<std::result::Result<(), Obstacle>> {
        if rows.is_empty() {
            return Ok(Ok(()));
        }
        let tx = self.tx;
        let (mut insert, mut update, mut delete, mut hosts) = (vec![], vec![], vec![], vec![]);
        let mut expected = rows.len();
        for row in rows {
            match row {
                Row::Insert(row) => insert.push(*row),
                Row::Update(row) => update.push(*row),
                Row::Delete(booking, _) => delete.push(booking.0),
                Row::Host(host) => hosts.push(*host),
                Row::Unchanged(..) => expected -= 1,
            }
        }
        let work = async || {
            // Sent in this order: what was shown and told is read as it was.
            let (before, inserted, updated, deleted, written) = try_join!(
                async {
                    match self.news {
                        Some(news) => Some(tell::before(tx, news, rows).await).transpose(),
                        None => Ok(None),
                    }
                },
                invoice::insert(tx, &insert),
                invoice::update(tx, &update),
                invoice::delete(tx, &delete),
                host::write(tx, &hosts, self.now),
            )?;
            if inserted + updated + deleted + written != expected {
                // A trigger or a policy can leave a row out and say nothing, and the main app
                // can have deleted it meanwhile.
                return Err(crate::Error::LeftOut);
            }
            match (self.news, before) {
                (Some(news), Some(before)) => tell::tell(tx, news, rows, &before).await,
                (_, _) => Ok(()),
            }
        };
        savepoint::within(tx, limits, work).await
    }
}
