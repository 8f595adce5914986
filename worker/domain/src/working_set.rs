//! The working set: all that a batch of events touches, in memory.
//!
//! A batch has the set loaded from a [`Source`], merges its events into it, has
//! loaded what turned out to be missing, and reads off the rows as they have to be.
//! Nothing here depends on the order in which events came.
//!
//! An object is added as one field of [`WorkingSet`], and of what a source is asked for.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    account::Account,
    account_snapshot::AccountSnapshot,
    by_claim::Naming,
    charge::{Charge, ChargeKey},
    credit_note::{CreditNote, CreditNoteKey},
    event::{Event, EventData},
    given_back::{Amounts, RefundKey},
    holders::{self, Claimants, Holders, InHand},
    ids::{AccountId, BookingId, CheckoutSessionId, InvoiceId, ObjectId, PaymentIntentId},
    main_app::{Pending, Target},
    merge::{Change, value},
    objects::Objects,
    ownership::{Claim, ClaimKey, Claimant, Claimed, FirstClaim, ObjectClaims, Owner, Owners},
    source::{Booking, Loaded, Missing, Recheck, Source, StoredCheckoutSession, StoredInvoice},
};

/// All that a batch of events touches.
#[derive(Debug, Default)]
pub struct WorkingSet {
    /// Invoices.
    pub invoices: Objects<InvoiceId, StoredInvoice>,
    /// Checkout Sessions.
    pub checkout_sessions: Objects<CheckoutSessionId, StoredCheckoutSession>,
    /// Connected accounts.
    pub accounts: Objects<AccountId, Account>,
    /// Bookings.
    pub bookings: Objects<BookingId, Booking>,
    /// The claims of the objects in hand: those of which an event came.
    pub claims: Objects<ObjectId, ObjectClaims>,
    /// The charges in hand: those of which an event came.
    pub charges: Objects<ChargeKey, Charge>,
    /// The credit notes in hand: those of which an event came.
    pub credit_notes: Objects<CreditNoteKey, CreditNote>,
    /// Payment intents whose sessions are wanted.
    payment_intents: Objects<PaymentIntentId, ()>,
    /// The charges and credit notes that are not in hand.
    pub(crate) refunds_elsewhere: Objects<RefundKey, Amounts>,
    claimants: Claimants,
    /// Whose each booking was before the first event was merged.
    owners_before: Option<Owners>,
    pending: BTreeMap<Target, Pending>,
    recheck: Recheck,
    has_owner_query: bool,
}

impl WorkingSet {
    /// The working set of these events and of objects to compute anew. Nothing is
    /// loaded yet.
    pub fn for_events<'a>(events: impl Iterator<Item = &'a Event>, recheck: &Recheck) -> Self {
        let mut set = Self {
            recheck: recheck.clone(),
            ..Self::default()
        };
        for object in &recheck.objects {
            match object {
                ObjectId::Invoice(id) => set.invoices.want(id),
                ObjectId::CheckoutSession(id) => set.checkout_sessions.want(id),
            }
        }
        for target in &recheck.targets {
            match target {
                Target::Booking(id) => set.bookings.want(id),
                Target::Host(id) => set.accounts.want(id),
            }
        }
        for event in events {
            set.want_data(event);
            if let Some((object, claim)) = event.claim() {
                set.claims.want(&object);
                if let Some(booking) = claim.booking {
                    set.bookings.want(&booking);
                    set.claimants.want(&(booking, claim.account));
                }
            }
        }
        set
    }

    /// Wants what the event says something of, and what that names.
    fn want_data(&mut self, event: &Event) {
        let account = event.account();
        match &event.data {
            EventData::Invoice(data) => {
                self.invoices.want(&data.id);
                self.want_refunds(&account, Some(&data.id), None);
            }
            EventData::CheckoutSession(data) => {
                self.checkout_sessions.want(&data.id);
                let invoice = value(&data.session.invoice);
                if let Some(invoice) = invoice {
                    self.invoices.want(invoice);
                }
                self.want_refunds(&account, invoice, value(&data.session.payment_intent));
            }
            EventData::Account(data) => self.accounts.want(&data.id),
            EventData::Charge(data) => {
                self.charges.want(&(account.clone(), data.id.clone()));
                let Charge {
                    payment_intent,
                    invoice,
                    ..
                } = &data.charge;
                if let Some(invoice) = invoice {
                    self.invoices.want(invoice);
                } else if let Some(intent) = payment_intent {
                    self.payment_intents.want(intent);
                }
                self.want_refunds(&account, invoice.as_ref(), None);
            }
            EventData::CreditNote(data) => {
                self.credit_notes.want(&(account.clone(), data.id.clone()));
                if let Some(invoice) = &data.note.invoice {
                    self.invoices.want(invoice);
                }
                self.want_refunds(&account, data.note.invoice.as_ref(), None);
            }
            EventData::Ignored(_) => {}
        }
    }

    /// The working set of one account.
    pub fn for_account(id: &AccountId) -> Self {
        let mut set = Self::default();
        set.accounts.want(id);
        set
    }

    /// Loads what is wanted, then what that refers to, and what the main app says of the
    /// bookings, until nothing is missing.
    ///
    /// # Errors
    /// As [`Source::load`].
    pub async fn load<S: Source>(&mut self, source: &S) -> Result<(), S::Error> {
        loop {
            self.load_own(source).await?;
            let unread = self.bookings.iter();
            let unread = unread.filter(|(_, booking)| booking.app.is_none());
            let unread: Vec<BookingId> = unread.map(|(id, _)| *id).collect();
            if unread.is_empty() {
                return Ok(());
            }
            let mut read = source.load_app(&unread).await?;
            for id in unread {
                let app = read.remove(&id).unwrap_or_default();
                self.bookings
                    .complete(&id, |booking| booking.app = Some(app));
            }
        }
    }

    /// As [`WorkingSet::load`], without the main app's tables.
    ///
    /// # Errors
    /// As [`Source::load`].
    pub async fn load_own<S: Source>(&mut self, source: &S) -> Result<(), S::Error> {
        self.has_owner_query = source.has_owner_query();
        loop {
            self.want_referenced();
            let missing = Missing {
                invoices: self.invoices.missing(),
                checkout_sessions: self.checkout_sessions.missing(),
                accounts: self.accounts.missing(),
                bookings: self.bookings.missing(),
                claims: self.claims.missing(),
                claimants: self.claimants.missing(),
                in_hand: self.claims.wanted().cloned().collect(),
                charges: self.charges.missing(),
                credit_notes: self.credit_notes.missing(),
                payment_intents: self.payment_intents.missing(),
                refunds: self.refunds_elsewhere.missing(),
                charges_in_hand: self.charges.wanted().cloned().collect(),
                credit_notes_in_hand: self.credit_notes.wanted().cloned().collect(),
            };
            if missing.is_empty() {
                return Ok(());
            }
            let Loaded {
                invoices,
                checkout_sessions,
                accounts,
                bookings,
                claims,
                claimants,
                pending,
                charges,
                credit_notes,
                refunds,
            } = source.load(&missing).await?;
            self.invoices.insert(missing.invoices, invoices);
            self.checkout_sessions
                .insert(missing.checkout_sessions, checkout_sessions);
            self.accounts.insert(missing.accounts, accounts);
            self.bookings.insert(missing.bookings, bookings);
            self.claims.insert(missing.claims, claims);
            self.claimants.insert(missing.claimants, claimants);
            self.pending.extend(pending);
            self.charges.insert(missing.charges, charges);
            self.credit_notes.insert(missing.credit_notes, credit_notes);
            self.payment_intents
                .insert(missing.payment_intents, BTreeMap::new());
            self.refunds_elsewhere.insert(missing.refunds, refunds);
        }
    }

    fn want_referenced(&mut self) {
        for (_, invoice) in self.invoices.iter() {
            for booking in invoice
                .by_claim
                .active()
                .into_iter()
                .filter_map(|one| one.booking)
            {
                self.bookings.want(&booking);
            }
        }
        for (_, session) in self.checkout_sessions.iter() {
            // One that expired can turn out to be paid, and claims its booking again.
            for booking in session.by_claim.named_last() {
                self.bookings.want(&booking);
            }
            let linked = session.by_claim.parts();
            for invoice in linked.filter_map(|(_, part)| value(&part.invoice)) {
                self.invoices.want(invoice);
            }
        }
        self.want_given_back();
        let owners = self.owners();
        for (id, booking) in self.bookings.iter() {
            // The row that the main app reads may show an invoice of another claim.
            if let Some(row) = booking.app.as_ref().and_then(|app| app.row.as_ref()) {
                self.invoices.want(&row.stripe_invoice_id);
            }
            // Its claims do not say whose it is.
            if booking.app.is_none() && self.has_owner_query {
                continue;
            }
            // Objects of other accounts are not shown, whatever they hold. An owner that
            // changes was loaded as the owner before.
            if let Some(Owner::Account(account)) = owners.get(id) {
                self.claimants.want(&(*id, account.clone()));
            }
        }
        for ((id, account), claimants) in self.claimants.iter() {
            if !matches!(owners.get(id), Some(Owner::Account(owner)) if owner == account) {
                continue;
            }
            for claimed in claimants {
                match &claimed.by.object {
                    ObjectId::Invoice(id) => self.invoices.want(id),
                    ObjectId::CheckoutSession(id) => self.checkout_sessions.want(id),
                }
            }
        }
    }

    /// Wants the invoices of the charges and notes in hand, and what was given back of them.
    fn want_given_back(&mut self) {
        for invoice in self.invoices_given_back() {
            self.invoices.want(&invoice);
        }
        for intent in self.payment_intents_given_back() {
            self.payment_intents.want(&intent);
        }
        for key in self.refund_keys() {
            self.refunds_elsewhere.want(&key);
        }
    }

    /// Whether the object is computed anew although no event of it came.
    pub fn is_rechecked(&self, object: &ObjectId) -> bool {
        self.recheck.objects.contains(object)
    }

    /// Whether the row is written anew although nothing changed.
    pub fn is_target_rechecked(&self, target: &Target) -> bool {
        self.recheck.targets.contains(target)
    }

    /// Whether a row of the main app's is pending.
    pub fn pending(&self, target: &Target) -> Pending {
        self.pending.get(target).copied().unwrap_or_default()
    }

    /// What an object says of bookings; `None` where it was not loaded.
    fn naming(&self, object: &ObjectId) -> Option<&dyn Naming> {
        match object {
            ObjectId::Invoice(id) => {
                let known = self.invoices.get(id)?;
                Some(&known.by_claim)
            }
            ObjectId::CheckoutSession(id) => {
                let known = self.checkout_sessions.get(id)?;
                Some(&known.by_claim)
            }
        }
    }

    /// The objects that were loaded, each with what it says of bookings.
    pub fn namings(&self) -> impl Iterator<Item = (ObjectId, &dyn Naming)> {
        let invoices = self.invoices.iter().map(|(id, known)| {
            let naming: &dyn Naming = &known.by_claim;
            (ObjectId::Invoice(id.clone()), naming)
        });
        let sessions = self.checkout_sessions.iter().map(|(id, known)| {
            let naming: &dyn Naming = &known.by_claim;
            (ObjectId::CheckoutSession(id.clone()), naming)
        });
        invoices.chain(sessions)
    }

    /// Whether the state of the object was loaded.
    pub fn is_loaded(&self, object: &ObjectId) -> bool {
        self.naming(object).is_some()
    }

    /// Whether an event of this invoice was ever taken in.
    pub fn knows_invoice(&self, id: &InvoiceId) -> bool {
        let known = self.invoices.get(id);
        known.is_some_and(|invoice| !invoice.by_claim.is_empty())
    }

    /// Takes in what an event says. What it touches must have been loaded.
    pub fn merge(&mut self, event: &Event) -> Change {
        if self.owners_before.is_none() {
            self.owners_before = Some(self.owners());
        }
        let change = match (&event.data, event.claim()) {
            (EventData::Invoice(data), Some((_, claim))) => {
                let part = data.invoice.clone();
                let merge = |known: &mut StoredInvoice| known.by_claim.merge(claim, part);
                self.invoices.merge(&data.id, merge)
            }
            (EventData::CheckoutSession(data), Some((_, claim))) => {
                let part = data.session.clone();
                let merge = |known: &mut StoredCheckoutSession| known.by_claim.merge(claim, part);
                self.checkout_sessions.merge(&data.id, merge)
            }
            (EventData::Account(data), _) => self.accounts.merge(&data.id, |account| {
                account.merge(event.header.created, &event.header.id, &data.change)
            }),
            (EventData::Charge(data), _) => {
                let key = (event.account(), data.id.clone());
                let said = data.charge.clone();
                self.charges.merge(&key, |charge| charge.merge(said))
            }
            (EventData::CreditNote(data), _) => {
                let key = (event.account(), data.id.clone());
                let said = data.note.clone();
                self.credit_notes.merge(&key, |note| note.merge(said))
            }
            (EventData::Invoice(_) | EventData::CheckoutSession(_) | EventData::Ignored(_), _) => {
                Change::Unchanged
            }
        };
        change.or(self.merge_claim(event))
    }

    fn merge_claim(&mut self, event: &Event) -> Change {
        let Some((object, claim)) = event.claim() else {
            return Change::Unchanged;
        };
        let Some(booking) = claim.booking.filter(|_| !self.names_too_many(&object)) else {
            return Change::Unchanged;
        };
        let first = FirstClaim {
            created: event.header.created,
            event_id: event.header.id.clone(),
        };
        self.claims.merge(&object, |claims| {
            claims.merge((claim.account, booking), first)
        })
    }

    /// Whether the object named so many bookings that it names none.
    pub fn names_too_many(&self, object: &ObjectId) -> bool {
        self.naming(object).is_some_and(Naming::names_too_many)
    }

    /// The active claims of an object.
    pub fn active(&self, object: &ObjectId) -> BTreeSet<ClaimKey> {
        let active = self.naming(object).map(Naming::active).unwrap_or_default();
        let key = |claim: &Claim| Some((claim.account.clone(), claim.booking?));
        active.into_iter().filter_map(key).collect()
    }

    /// The active claims of the objects in hand, by booking.
    fn active_in_hand(&self) -> InHand {
        let mut active = InHand::new();
        for (object, claims) in self.claims.iter() {
            for key in self.active(object) {
                let Some(first) = claims.first(&key).cloned() else {
                    continue;
                };
                let (account, booking) = key;
                let object = object.clone();
                let by = Claimant { account, object };
                active
                    .entry(booking)
                    .or_default()
                    .push(Claimed { first, by });
            }
        }
        active
    }

    /// Takes in what the API said of an account; see [`Account::keep_api_snapshot`].
    pub fn keep_api_snapshot(
        &mut self,
        id: &AccountId,
        asked: &Account,
        snapshot: AccountSnapshot,
    ) -> Change {
        let keep = |account: &mut Account| account.keep_api_snapshot(asked, snapshot);
        self.accounts.merge(id, keep)
    }

    /// Whose each booking is.
    pub fn owners(&self) -> Owners {
        holders::owners(&self.bookings, &self.active_in_hand())
    }

    /// Who has each booking.
    pub fn holders(&self) -> Holders {
        Holders::of(&self.bookings, &self.claimants, &self.active_in_hand())
    }

    /// Whose each booking was before the first event was merged; `None` where none was.
    pub fn owners_before(&self) -> Option<&Owners> {
        self.owners_before.as_ref()
    }
}
