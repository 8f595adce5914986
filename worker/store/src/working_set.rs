//! Loads a working set from the tables, and saves what a batch changed of it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::{
    account::Account,
    history::AccountTransition,
    ids::{AccountId, BookingId},
    merge::Change,
    ownership::Booking,
    projection::{HostRow, Projection},
    working_set::{Loaded, Missing, Source, WorkingSet},
};
use futures_util::try_join;

use crate::{
    Connection, Error, Result, WriteTx, account, account_transition, booking_claim,
    checkout_session, invoice,
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

/// Saves what a batch changed of its working set, and the row of each host in `rewrite`:
/// it may be gone, or of an older rule.
pub async fn save(
    tx: &WriteTx<'_>,
    set: &WorkingSet,
    projection: &Projection<'_>,
    rewrite: &BTreeSet<&AccountId>,
    transitions: &[AccountTransition],
    now: DateTime<Utc>,
) -> Result<()> {
    let invoices = set.invoices.iter_changes();
    let invoices = invoices.filter_map(|(id, known, change)| {
        let projected = projection.invoices.get(id)?;
        let is_changed =
            change == Change::Changed || known.projection.as_ref() != Some(&projected.stored);
        is_changed.then_some((id, &known.by_claim, projected))
    });
    let invoices: Vec<_> = invoices.collect();
    let sessions = set.checkout_sessions.iter_changes();
    let sessions = sessions.filter_map(|(id, known, change)| {
        let is_undecided = known.by_claim.is_undecided(&projection.owners);
        let is_changed = change == Change::Changed || known.is_undecided != is_undecided;
        is_changed.then_some((id, &known.by_claim, is_undecided))
    });
    let sessions: Vec<_> = sessions.collect();
    let mut claims = Vec::new();
    for (id, booking) in set.bookings.iter() {
        for (claimant, first) in booking.changed_claims() {
            claims.push((*id, claimant, first));
        }
    }
    let accounts = set.accounts.iter_changes();
    let accounts: Vec<(&AccountId, &Account)> = accounts
        .filter(|(id, _, change)| *change == Change::Changed || rewrite.contains(id))
        .map(|(id, account, _)| (id, account))
        .collect();
    let hosts = accounts
        .iter()
        .map(|(id, account)| HostRow::new(id, account));
    let hosts: Vec<HostRow> = hosts.collect();
    let rows = set.invoice_row_changes(projection);
    try_join!(
        invoice::write(tx, &invoices),
        checkout_session::write(tx, &sessions),
        booking_claim::write(tx, &claims),
        account::write(tx, &accounts),
        account_transition::write(tx, transitions),
        main_app::host::write(tx, hosts, now),
        main_app::invoice::write(tx, &rows),
    )?;
    Ok(())
}
