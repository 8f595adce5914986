//! Loads a working set from the tables, and saves what a batch changed of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use chrono::{DateTime, Utc};
use domain::{
    changes::Changes,
    ids::BookingId,
    main_app::{AppBooking, Obstacle, ObstacleReason, Target},
    rows::HostRow,
    source::{Booking, Loaded, Missing, Source},
};
use futures_util::try_join;

use crate::{
    Connection, Error, Result, WriteTx, account, booking_claim, charge, checkout_session,
    credit_note, invoice,
    main_app::{Blocked, LeftAlone, booking::Bookings, read, write},
    pending_projection::{self, Failed},
    refunds, savepoint,
};

/// The tables, as a source of working sets. What is loaded for a change is saved by
/// [`Tables::save`].
pub struct Tables<'c> {
    conn: &'c Connection,
    bookings: Bookings<'c>,
    /// Why the main app's bookings cannot be read: it is not tried again.
    obstacle: OnceLock<Obstacle>,
    /// Whether the savepoint in which they were read is still open.
    is_in_savepoint: AtomicBool,
}

impl<'c> Tables<'c> {
    /// The tables on this connection. `bookings` is how the deployment tells of bookings, and
    /// `left_alone` why they are not read now.
    pub fn new(
        conn: &'c Connection,
        bookings: Bookings<'c>,
        left_alone: Option<&Obstacle>,
    ) -> Self {
        let obstacle = left_alone.cloned().map(OnceLock::from).unwrap_or_default();
        Self {
            conn,
            bookings,
            obstacle,
            is_in_savepoint: AtomicBool::new(false),
        }
    }

    /// Saves what Stripe says: what a batch changed of its working set, but for the main app's
    /// rows. Its statements do not write the same rows. What is sent behind it no longer has the
    /// limits with which the main app's tables are read.
    ///
    /// # Errors
    /// The database refuses a value, or cannot be used.
    pub async fn save(&self, tx: &WriteTx<'_>, changes: &Changes<'_>) -> Result<()> {
        let Changes {
            invoices,
            checkout_sessions,
            claims,
            accounts,
            charges,
            credit_notes,
            app: _,
        } = changes;
        try_join!(
            self.leave_savepoint(),
            invoice::write(tx, invoices),
            checkout_session::write(tx, checkout_sessions),
            booking_claim::write(tx, claims),
            account::write(tx, accounts),
            charge::write(tx, charges),
            credit_note::write(tx, credit_notes),
        )?;
        Ok(())
    }

    /// Leaves the savepoint in which the main app's tables were read, where one is open. The
    /// next statement is sent in the same round trip.
    async fn leave_savepoint(&self) -> Result<()> {
        if self.is_in_savepoint.swap(false, Ordering::Relaxed) {
            savepoint::leave(self.conn).await?;
        }
        Ok(())
    }
}

impl Source for Tables<'_> {
    type Error = Error;

    async fn load(&self, missing: &Missing) -> Result<Loaded> {
        let Missing {
            invoices,
            checkout_sessions,
            accounts,
            bookings,
            claims,
            claimants,
            in_hand,
            charges,
            credit_notes,
            payment_intents,
            refunds: _,
            charges_in_hand: _,
            credit_notes_in_hand: _,
        } = missing;
        let conn = self.conn;
        // All in one round trip. Nothing is sent for an empty list.
        let (
            (),
            (invoices, checkout_sessions, loaded),
            (claims, mut elsewhere, pending),
            (charges, credit_notes, refunds, of_intents),
        ) = try_join!(
            self.leave_savepoint(),
            async {
                try_join!(
                    invoice::load(conn, invoices),
                    checkout_session::load(conn, checkout_sessions, invoices),
                    account::load(conn, accounts),
                )
            },
            async {
                try_join!(
                    booking_claim::of_objects(conn, claims),
                    booking_claim::elsewhere(conn, bookings, claimants, in_hand),
                    pending_projection::load(conn, bookings, accounts),
                )
            },
            async {
                try_join!(
                    charge::load(conn, charges),
                    credit_note::load(conn, credit_notes),
                    refunds::load(conn, missing),
                    checkout_session::of_payment_intents(conn, payment_intents),
                )
            },
        )?;
        let mut checkout_sessions = checkout_sessions;
        checkout_sessions.extend(of_intents);
        let booking = |id: &BookingId| {
            let booking = Booking {
                first_elsewhere: elsewhere.first.remove(id),
                ..Booking::default()
            };
            (*id, booking)
        };
        Ok(Loaded {
            invoices,
            checkout_sessions,
            accounts: loaded,
            bookings: bookings.iter().map(booking).collect(),
            claims,
            claimants: elsewhere.claimants,
            pending,
            charges,
            credit_notes,
            refunds,
        })
    }

    fn has_owner_query(&self) -> bool {
        self.bookings.owner_query.is_some()
    }

    async fn load_app(&self, ids: &[BookingId]) -> Result<BTreeMap<BookingId, AppBooking>> {
        if let Some(obstacle) = self.obstacle.get() {
            let unreadable = |id: &BookingId| (*id, read::unreadable(self.bookings, obstacle));
            return Ok(ids.iter().map(unreadable).collect());
        }
        let ((), read) = try_join!(
            self.leave_savepoint(),
            read::bookings(self.conn, self.bookings, ids)
        )?;
        self.is_in_savepoint
            .store(read.is_in_savepoint, Ordering::Relaxed);
        if let Some(obstacle) = read.in_everybodys_way {
            let _known = self.obstacle.set(obstacle);
        }
        Ok(read.bookings)
    }
}

/// What became of the main app's side of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projected {
    /// Rows that could not be read or written, and are pending now.
    pub pending: Vec<Failed>,
    /// The tables that nobody should try for a moment.
    pub blocked: Blocked,
}

/// Writes the main app's rows as far as it lets us, and notes what is pending. Nothing else
/// may be sent at the same time: what the main app refuses is undone.
pub async fn project(
    tx: &WriteTx<'_>,
    changes: &Changes<'_>,
    left_alone: &LeftAlone,
    now: DateTime<Utc>,
) -> Result<Projected> {
    let app = &changes.app;
    let hosts: &[HostRow] = match left_alone.hosts {
        Some(_) => &[],
        None => &app.hosts,
    };
    let written = write::write(tx, app, hosts, now).await?;
    let mut blocked = written.blocked;
    let mut pending = written.failed;
    if let Some(obstacle) = &left_alone.hosts {
        pending.extend(app.hosts.iter().map(|host| Failed {
            target: Target::Host(host.account.clone()),
            object: Some(host.account.to_string()),
            obstacle: obstacle.clone(),
        }));
    }
    for (booking, invoice, obstacle) in &app.unreadable {
        // One that is refused, such as by the deployment's query, is in nobody else's way.
        blocked.bookings |= matches!(
            obstacle.reason,
            ObstacleReason::Locked | ObstacleReason::NotTried
        );
        pending.push(Failed {
            target: Target::Booking(*booking),
            object: invoice.as_ref().map(ToString::to_string),
            obstacle: obstacle.clone(),
        });
    }
    let still: BTreeSet<&Target> = pending.iter().map(|failed| &failed.target).collect();
    let done = app.was_pending.iter();
    let done = done.filter(|target| !still.contains(target));
    pending_projection::remove(tx, done).await?;
    pending_projection::note(tx, &pending).await?;
    Ok(Projected { pending, blocked })
}
