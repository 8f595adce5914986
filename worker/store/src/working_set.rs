//! Loads a working set from the tables, and saves what a batch changed of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::{
    changes::Changes,
    ids::BookingId,
    ownership::Booking,
    working_set::{Loaded, Missing, Source},
};
use futures_util::try_join;

use crate::{
    Connection, Error, Result, WriteTx, account, booking_claim, checkout_session, invoice,
    main_app::{
        self,
        booking::{self, Bookings},
    },
};

/// The tables, as a source of working sets.
#[derive(Clone, Copy)]
pub struct Tables<'c> {
    /// The connection.
    pub conn: &'c Connection,
    /// How the deployment tells of bookings.
    pub bookings: Bookings<'c>,
}

impl Source for Tables<'_> {
    type Error = Error;

    async fn load(&self, missing: &Missing) -> Result<Loaded> {
        let Missing {
            invoices,
            checkout_sessions,
            accounts,
            bookings,
        } = missing;
        let conn = self.conn;
        let ids: Vec<i32> = bookings.iter().map(|booking| booking.0).collect();
        // All in one round trip.
        let (invoices, checkout_sessions, accounts, mut claims, mut rows, existing, owners) = try_join!(
            invoice::load(conn, invoices),
            checkout_session::load(conn, checkout_sessions, invoices),
            account::load(conn, accounts),
            booking_claim::load(conn, &ids),
            main_app::invoice::load(conn, &ids),
            booking::existing(conn, self.bookings, &ids),
            booking::owners(conn, self.bookings, &ids),
        )?;
        let mut owners: BTreeMap<_, _> = owners.into_iter().collect();
        let booking = |id: &BookingId| {
            let mut booking = Booking::with_claims(claims.remove(id).unwrap_or_default());
            booking.exists = existing.contains(id);
            booking.configured_owner = owners.remove(id);
            booking.row = rows.remove(id);
            (*id, booking)
        };
        Ok(Loaded {
            invoices,
            checkout_sessions,
            accounts,
            bookings: bookings.iter().map(booking).collect(),
        })
    }
}

/// Saves what a batch changed of its working set. Its statements do not write the same
/// rows.
pub async fn save(tx: &WriteTx<'_>, changes: &Changes<'_>, now: DateTime<Utc>) -> Result<()> {
    let Changes {
        invoices,
        checkout_sessions,
        claims,
        accounts,
        hosts,
        invoice_rows,
    } = changes;
    try_join!(
        invoice::write(tx, invoices),
        checkout_session::write(tx, checkout_sessions),
        booking_claim::write(tx, claims),
        account::write(tx, accounts),
        main_app::host::write(tx, hosts, now),
        main_app::invoice::write(tx, invoice_rows),
    )?;
    Ok(())
}
