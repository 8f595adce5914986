//! The worker's tables in memory: the worker's own batches on them, some thousand times
//! faster than on PostgreSQL.

mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Mutex, MutexGuard},
};

use chrono::DateTime;
use domain::{
    account::Account,
    changes::Changes,
    charge::{Charge, ChargeKey},
    credit_note::{CreditNote, CreditNoteKey},
    ids::{AccountId, BookingId, CheckoutSessionId, InvoiceId, ObjectId},
    outcome::{Decision, Outcome},
    ownership::{ClaimKey, Claimant, Claimed, StoredClaim},
    rows::{HostRow, InvoiceRow, StoredProjection},
    source::{Recheck, StoredCheckoutSession, StoredInvoice},
};
use store::{
    archive_page::ArchivePolicy,
    event::{KnownEvent, LedgerRow},
};
use worker::pipeline::{
    admission::Known,
    delivery::Delivery,
    process::{Work, process},
    storage::{BatchChanges, Saved, Storage},
};

/// The tables. Two of them are equal if the main app and the worker cannot tell them
/// apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    pub ledger: BTreeMap<String, Entry>,
    pub invoices: BTreeMap<InvoiceId, StoredInvoice>,
    pub checkout_sessions: BTreeMap<CheckoutSessionId, StoredCheckoutSession>,
    pub accounts: BTreeMap<AccountId, Account>,
    pub claims: BTreeMap<(ObjectId, ClaimKey), StoredClaim>,
    pub charges: BTreeMap<ChargeKey, Charge>,
    pub credit_notes: BTreeMap<CreditNoteKey, CreditNote>,
    pub invoice_rows: BTreeMap<BookingId, InvoiceRow>,
    pub hosts: BTreeMap<AccountId, HostRow>,
    /// The main app's bookings; `None` where they are not in this database.
    pub bookings: Option<BTreeSet<BookingId>>,
}

/// What the ledger says of an event. Whether it came late does not matter.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    is_dead: bool,
    is_session: bool,
    object: Option<String>,
    account: Option<String>,
    booking: Option<BookingId>,
}

impl Entry {
    fn new(row: &LedgerRow<'_>) -> Self {
        Self {
            is_dead: row.outcome == Outcome::Dead,
            is_session: row.event_type.contains("checkout."),
            object: row.object_id.map(str::to_owned),
            account: row.account.map(str::to_owned),
            booking: row.booking,
        }
    }

    fn is_of(&self, object: &ObjectId, account: &AccountId, booking: BookingId) -> bool {
        self.is_session == matches!(object, ObjectId::CheckoutSession(_))
            && self.object.as_deref() == Some(object.as_str())
            && self.account.as_deref().unwrap_or_default() == account.as_str()
            && self.booking == Some(booking)
    }
}

/// A session, its payment status, its status and its invoice.
pub type SeenSession = (String, Option<String>, Option<String>, Option<String>);

/// Tables that batches of the worker read and write.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Tables>);

impl Memory {
    /// With bookings of the main app in the same database, none yet.
    pub fn with_bookings() -> Self {
        let tables = Tables {
            bookings: Some(BTreeSet::new()),
            ..Tables::default()
        };
        Self(Mutex::new(tables))
    }

    pub fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap()
    }

    /// Takes deliveries as one batch.
    pub async fn take(&self, deliveries: &[Delivery]) -> Vec<Decision> {
        self.process(deliveries, &Recheck::default()).await
    }

    /// Decides events again, whatever became of them before, as a replay does.
    pub async fn decide_again(&self, deliveries: &[Delivery]) {
        for delivery in deliveries {
            self.tables().ledger.remove(delivery.event_id().unwrap());
        }
        self.take(deliveries).await;
    }

    /// The main app makes a booking, and the worker sees it.
    pub async fn book(&self, booking: BookingId) {
        let recheck = {
            let mut tables = self.tables();
            tables.bookings.get_or_insert_default().insert(booking);
            let invoices = tables.invoices.iter();
            let waiting = invoices.filter(|(_, invoice)| {
                let projection = invoice.projection.as_ref();
                projection.is_some_and(|projection| projection.waiting.is_some())
            });
            Recheck {
                objects: waiting
                    .map(|(id, _)| ObjectId::Invoice(id.clone()))
                    .collect(),
                ..Recheck::default()
            }
        };
        self.process(&[], &recheck).await;
    }

    async fn process(&self, deliveries: &[Delivery], recheck: &Recheck) -> Vec<Decision> {
        let work = Work {
            deliveries,
            recheck,
            archive: ArchivePolicy::Never,
        };
        let Ok(done) = process(self, work, DateTime::UNIX_EPOCH).await;
        // A batch's working set is freed in a task of its own. A runtime of one thread gets
        // to it only when somebody waits, which nothing in memory does.
        tokio::task::yield_now().await;
        done.decisions
    }

    /// Each session with its payment status, its status and its invoice.
    pub fn sessions(&self) -> Vec<SeenSession> {
        let tables = self.tables();
        let sessions = tables.checkout_sessions.iter();
        let sessions = sessions.filter_map(|(id, session)| Some((id, session.by_claim.whole()?)));
        sessions
            .map(|(id, whole)| {
                let payment = whole
                    .payment_status
                    .map(|one| one.value.as_str().to_owned());
                let status = whole.status.map(|one| one.value.as_str().to_owned());
                let invoice = whole.invoice.map(|one| one.value.to_string());
                (id.to_string(), payment, status, invoice)
            })
            .collect()
    }

    /// What was given back of each invoice: refunded, and credited.
    pub fn given_back(&self) -> BTreeMap<String, (i64, i64)> {
        let tables = self.tables();
        let invoices = tables.invoices.iter();
        let invoices = invoices.filter_map(|(id, one)| Some((id, one.projection.as_ref()?)));
        invoices
            .map(|(id, one)| {
                let sums = (one.given_back.refunded, one.given_back.credited);
                (id.to_string(), sums)
            })
            .collect()
    }
}

impl Tables {
    /// The active claims of objects that are not in hand, in their order.
    fn elsewhere(&self, booking: BookingId, in_hand: &[ObjectId]) -> Vec<Claimed> {
        let claims = self.claims.iter();
        let elsewhere = claims.filter(|((object, key), claim)| {
            claim.is_active && key.1 == booking && !in_hand.contains(object)
        });
        let mut elsewhere: Vec<Claimed> = elsewhere
            .map(|((object, key), claim)| Claimed {
                first: claim.first.clone(),
                by: Claimant {
                    account: key.0.clone(),
                    object: object.clone(),
                },
            })
            .collect();
        elsewhere.sort();
        elsewhere
    }

    /// The outcome of the events by which an account claims a booking for an object. Gives
    /// back how many were refused.
    fn decide(
        &mut self,
        (object, account, booking): (&ObjectId, &AccountId, BookingId),
        is_accepted: bool,
    ) -> usize {
        let entries = self.ledger.values_mut();
        let mut refused = 0;
        for entry in entries.filter(|entry| entry.is_of(object, account, booking)) {
            refused += usize::from(!is_accepted && !entry.is_dead);
            entry.is_dead = !is_accepted;
        }
        refused
    }

    fn save(&mut self, changes: &Changes<'_>) {
        let Changes {
            invoices,
            checkout_sessions,
            claims,
            accounts,
            charges,
            credit_notes,
            app,
        } = changes;
        for (key, charge) in charges {
            self.charges.insert((*key).clone(), (*charge).clone());
        }
        for (key, note) in credit_notes {
            self.credit_notes.insert((*key).clone(), (*note).clone());
        }
        for changed in invoices {
            let projection: StoredProjection = changed.projection.stored.clone();
            let stored = StoredInvoice {
                by_claim: changed.by_claim.clone(),
                projection: Some(projection),
            };
            self.invoices.insert(changed.id.clone(), stored);
        }
        for changed in checkout_sessions {
            let stored = StoredCheckoutSession {
                by_claim: changed.by_claim.clone(),
                is_undecided: changed.is_undecided,
            };
            // A session of which no event was taken has no row.
            if !stored.by_claim.is_empty() {
                self.checkout_sessions.insert(changed.id.clone(), stored);
            }
        }
        for changed in claims {
            let key = (changed.object.clone(), changed.key.clone());
            self.claims.insert(key, changed.claim.clone());
        }
        for (id, account) in accounts {
            self.accounts.insert((*id).clone(), (*account).clone());
        }
        for host in &app.hosts {
            self.hosts.insert(host.account.clone(), host.clone());
        }
        for row in app.insert.iter().chain(&app.update) {
            self.invoice_rows.insert(row.booking_id, row.clone());
        }
        for (booking, _) in &app.delete {
            self.invoice_rows.remove(booking);
        }
    }
}

impl Storage for Memory {
    type Lock = ();

    async fn lock(&self) -> Result<(), Infallible> {
        Ok(())
    }

    async fn known(&self, deliveries: &[Delivery]) -> Result<Known, Infallible> {
        let tables = self.tables();
        let ids = deliveries.iter().filter_map(Delivery::event_id);
        let known = ids.filter_map(|id| {
            let entry = tables.ledger.get(id)?;
            let outcome = match entry.is_dead {
                true => Outcome::Dead,
                false => Outcome::Applied,
            };
            let is_archived = false;
            Some((
                id.to_owned(),
                KnownEvent {
                    outcome,
                    is_archived,
                },
            ))
        });
        Ok(Known {
            events: known.collect(),
            ..Known::default()
        })
    }

    async fn save(&self, (): &(), changes: &BatchChanges<'_>) -> Result<Saved, Infallible> {
        let mut tables = self.tables();
        tables.save(&changes.objects);
        for row in &changes.ledger {
            tables.ledger.insert(row.id.to_owned(), Entry::new(row));
        }
        let mut refused_late = 0;
        let late = &changes.late.reclassified;
        for change in &late.objects {
            let claim = (&change.object, &change.account, change.booking);
            refused_late += tables.decide(claim, change.is_accepted);
        }
        for change in &late.owners {
            for claim in tables.elsewhere(change.booking, &[]) {
                let is_accepted = claim.by.account == change.owner;
                let claim = (&claim.by.object, &claim.by.account, change.booking);
                refused_late += tables.decide(claim, is_accepted);
            }
        }
        Ok(Saved {
            refused_late,
            ..Saved::default()
        })
    }
}
