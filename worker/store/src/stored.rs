//! What the database holds of a world: loaded into it, and written back where
//! the world has changed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use futures_util::{future::try_join_all, try_join};

use crate::{
    account,
    app::{self, Host, Shown},
    claim::{self, Claims},
    invoice, ledger, session,
};
use domain::{
    account::{Account, Standing},
    booking::{Booking, Claimant, FirstClaim},
    claim::BookingId,
    fields::moment,
    onboarding::onboarding,
    place::{Placed, Waiting, best_of_each},
    world::World,
};

/// How the deployment tells whose a booking is and whether it is there.
#[derive(Clone, Copy, Debug)]
pub struct Bookings<'a> {
    /// Whether the main app's `"Booking"` is in this database.
    pub are_here: bool,
    /// The deployment's query for a booking's account, where there is one.
    pub owner_query: Option<&'a str>,
}

/// Why the database and a world could not be brought together.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// As Postgres says.
    #[error("the database refused")]
    Database(#[from] diesel::result::Error),
    /// A row holds what this worker did not write.
    #[error("a row of the schema stripe cannot be read")]
    Unreadable(#[from] serde_json::Error),
}

/// The rows as they were loaded.
#[derive(Debug, Default)]
pub struct Stored {
    invoices: BTreeMap<String, invoice::Row>,
    sessions: BTreeMap<String, session::Row>,
    accounts: BTreeMap<String, account::Row>,
    claims: BTreeMap<BookingId, Claims>,
    shown: BTreeMap<BookingId, Shown>,
}

impl Stored {
    /// Loads what the world is missing, until nothing is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn fill(
        &mut self,
        conn: &AsyncPgConnection,
        world: &mut World,
        bookings: Bookings<'_>,
    ) -> Result<(), StoreError> {
        loop {
            let missing = world.missing();
            if missing.is_empty() {
                return Ok(());
            }
            let ids = missing.bookings.as_slice();
            let (invoices, sessions, accounts, claims, shown, existing, decreed) = try_join!(
                invoice::load(conn, &missing.invoices),
                session::load(conn, &missing.sessions, &missing.invoices),
                account::load(conn, &missing.accounts),
                claim::load(conn, ids),
                app::shown(conn, ids),
                async {
                    match bookings.are_here {
                        true => app::existing(conn, ids).await,
                        false => Ok(ids.iter().copied().collect()),
                    }
                },
                async {
                    let query = bookings.owner_query;
                    let asked = ids.iter().filter_map(|id| Some((*id, query?)));
                    try_join_all(asked.map(async |(id, query)| {
                        Ok::<_, diesel::result::Error>((id, app::owner(conn, query, id).await?))
                    }))
                    .await
                },
            )?;
            let mut decreed: BTreeMap<_, _> = decreed.into_iter().collect();
            for id in &missing.invoices {
                let row = invoices.get(id).map(invoice::Row::claimed).transpose()?;
                world.invoices.insert(id.clone(), row.unwrap_or_default());
            }
            for id in missing.sessions.iter().chain(sessions.keys()) {
                if !world.sessions.contains_key(id) {
                    let row = sessions.get(id).map(session::Row::claimed).transpose()?;
                    world.sessions.insert(id.clone(), row.unwrap_or_default());
                }
            }
            for id in &missing.accounts {
                let row = accounts.get(id).map(account::Row::account).transpose()?;
                world.accounts.insert(id.clone(), row.unwrap_or_default());
            }
            for id in &missing.bookings {
                let booking = Booking {
                    exists: existing.contains(id),
                    claims: claims.get(id).cloned().unwrap_or_default(),
                    decreed: decreed.remove(id),
                };
                world.bookings.insert(*id, booking);
            }
            for row in shown.values() {
                world.want_invoice(&row.stripe_invoice_id);
            }
            self.invoices.extend(invoices);
            self.sessions.extend(sessions);
            self.accounts.extend(accounts);
            self.claims.extend(claims);
            self.shown.extend(shown);
        }
    }

    /// The claims on the bookings of the world, as they were loaded.
    pub fn claims(&self) -> &BTreeMap<BookingId, Claims> {
        &self.claims
    }

    /// Writes every row that the world has changed, and those of the main app's that
    /// show an account of `again`: they may be gone, or of an older rule.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn write(
        &self,
        conn: &AsyncPgConnection,
        world: &World,
        placed: &BTreeMap<&str, Placed>,
        again: &BTreeSet<&str>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let invoices = self.changed_invoices(world, placed);
        let (joined, waiting) = self.changed_waiting(placed);
        let sessions = self.changed_sessions(world);
        let claims = self.changed_claims(world);
        let (accounts, hosts) = self.changed_accounts(world, again, now);
        let (added, replaced, removed) = self.changed_shown(world, placed);
        // A booking's row may pass from one invoice to another, never between
        // bookings, so these do not depend on each other.
        try_join!(
            invoice::write(conn, &invoices),
            session::write(conn, &sessions),
            claim::write(conn, &claims),
            account::write(conn, &accounts),
            app::write_hosts(conn, &hosts),
            app::add(conn, &added),
            app::replace(conn, &replaced),
            app::remove(conn, &removed),
            ledger::no_longer_waiting(conn, &joined),
            ledger::wait(conn, &waiting),
        )?;
        Ok(())
    }

    fn changed_invoices(
        &self,
        world: &World,
        placed: &BTreeMap<&str, Placed>,
    ) -> Vec<invoice::Row> {
        placed
            .iter()
            .filter_map(|(id, placed)| {
                let row = invoice::Row::new(id, world.invoices.get(*id)?, placed);
                (self.invoices.get(*id) != Some(&row)).then_some(row)
            })
            .collect()
    }

    /// Of the invoices that were there, those that wait no longer, and those that
    /// wait for something else than before.
    fn changed_waiting<'a>(
        &self,
        placed: &BTreeMap<&'a str, Placed>,
    ) -> (Vec<&'a str>, Vec<(&'a str, Waiting)>) {
        let (mut joined, mut waiting) = (Vec::new(), Vec::new());
        for (id, placed) in placed {
            let before = self.invoices.get(*id).map(invoice::Row::waiting);
            if before.is_none_or(|before| before == placed.waiting.map(Waiting::code)) {
                continue;
            }
            match placed.waiting {
                Some(why) => waiting.push((*id, why)),
                None => joined.push(*id),
            }
        }
        (joined, waiting)
    }

    fn changed_sessions(&self, world: &World) -> Vec<session::Row> {
        world
            .sessions
            .iter()
            .filter_map(|(id, session)| {
                let row = session::Row::new(id, session)?;
                (self.sessions.get(id) != Some(&row)).then_some(row)
            })
            .collect()
    }

    fn changed_claims<'a>(
        &self,
        world: &'a World,
    ) -> Vec<(BookingId, &'a Claimant, &'a FirstClaim)> {
        let mut changed = Vec::new();
        for (booking, known) in &world.bookings {
            let stored = self.claims.get(booking);
            for (claimant, first) in &known.claims {
                if stored.and_then(|claims| claims.get(claimant)) != Some(first) {
                    changed.push((*booking, claimant, first));
                }
            }
        }
        changed
    }

    fn changed_accounts(
        &self,
        world: &World,
        again: &BTreeSet<&str>,
        now: DateTime<Utc>,
    ) -> (Vec<account::Row>, Vec<Host>) {
        world
            .accounts
            .iter()
            .filter_map(|(id, account)| {
                let row = account::Row::new(id, account);
                let is_written = self.accounts.get(id) != Some(&row) || again.contains(&**id);
                is_written.then(|| (row, host(id, account, now)))
            })
            .unzip()
    }

    fn changed_shown(
        &self,
        world: &World,
        placed: &BTreeMap<&str, Placed>,
    ) -> (Vec<Shown>, Vec<Shown>, Vec<BookingId>) {
        let best = best_of_each(placed);
        let placed: BTreeSet<BookingId> = placed.values().filter_map(|p| p.booking).collect();
        // A row that the main app made of an invoice that was never heard of stays
        // until an invoice of the booking is.
        let is_ours = |booking: &BookingId, row: &Shown| {
            placed.contains(booking) || world.knows_invoice(&row.stripe_invoice_id)
        };
        let (mut added, mut replaced, mut removed) = (Vec::new(), Vec::new(), Vec::new());
        for booking in world.bookings.keys() {
            let wanted = best
                .get(booking)
                .and_then(|(id, invoice)| Shown::new(*booking, id, invoice));
            match (self.shown.get(booking), wanted) {
                (None, Some(row)) => added.push(row),
                (Some(stored), Some(row)) if *stored != row => replaced.push(row),
                (Some(stored), None) if is_ours(booking, stored) => removed.push(*booking),
                (Some(_), _) | (None, None) => {}
            }
        }
        (added, replaced, removed)
    }
}

fn host(id: &str, account: &Account, now: DateTime<Utc>) -> Host {
    let winner = account.standing.as_ref().and_then(Standing::winner);
    let snapshot = winner
        .map(|winner| winner.snapshot.clone())
        .unwrap_or_default();
    let onboarding = onboarding(account, &snapshot);
    let first = account.first_event.unwrap_or_default();
    Host {
        account_id: id.to_owned(),
        status: onboarding.status.as_str(),
        can_sell: onboarding.can_sell,
        deadline: onboarding.deadline.map(moment),
        charges_enabled: snapshot.charges_enabled,
        payouts_enabled: snapshot.payouts_enabled,
        details_submitted: snapshot.details_submitted,
        currently_due: snapshot.requirements.currently_due,
        past_due: snapshot.requirements.past_due,
        eventually_due: snapshot.requirements.eventually_due,
        pending_verification: snapshot.requirements.pending_verification,
        disabled_reason: snapshot.requirements.disabled_reason,
        host_id: snapshot.host_id,
        kind: snapshot.kind,
        country: snapshot.country,
        default_currency: snapshot.default_currency,
        last_event_at: moment(account.last_event().unwrap_or(first)),
        created_at: moment(snapshot.created.unwrap_or(first)),
        updated_at: now,
    }
}
