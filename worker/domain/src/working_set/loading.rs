//! What a batch touches, and what that refers to: loaded from a [`Source`] until nothing is
//! missing.

use std::collections::BTreeMap;

use super::{Followed, WorkingSet};
use crate::{
    by_claim::Naming,
    charge::Charge,
    event::{Event, EventData},
    holders,
    ids::{AccountId, BookingId, ObjectId},
    main_app::Target,
    merge::value,
    ownership::Owner,
    source::{Loaded, Missing, Recheck, Source},
};

/// With up to so many invoices in a batch, their refunds are loaded at once. That saves a round
/// trip, and reads some that are known already.
const FEW_INVOICES: usize = 16;

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
        for booking in &recheck.owners {
            set.bookings.want(booking);
        }
        let mut invoices = Vec::new();
        for event in events {
            set.want_data(event);
            if let EventData::Invoice(data) = &event.data {
                invoices.push((event.account(), &data.id));
            }
            if let Some((object, claim)) = event.claim() {
                set.claims.want(&object);
                if let Some(booking) = claim.booking {
                    set.bookings.want(&booking);
                    set.claimants.want(&(booking, claim.account));
                }
            }
        }
        if invoices.len() <= FEW_INVOICES {
            for (account, id) in invoices {
                set.want_refunds(&account, Some(id), None);
            }
        }
        set
    }

    /// Wants what the event says something of, and what that names.
    fn want_data(&mut self, event: &Event) {
        let account = event.account();
        match &event.data {
            // What was given back of it is loaded where it turns out to be new.
            EventData::Invoice(data) => self.invoices.want(&data.id),
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

    /// The working set of accounts alone.
    pub fn for_accounts<'a>(ids: impl IntoIterator<Item = &'a AccountId>) -> Self {
        let mut set = Self::default();
        for id in ids {
            set.accounts.want(id);
        }
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
            // An object in hand is loaded together with its claims.
            self.followed.is_current &= missing.claims.is_empty();
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

    /// Wants the objects that loaded objects refer to, as far as they can change a row: see
    /// [`distance`](super::distance).
    ///
    /// Only what is new is looked at. What was there before refers to the same as then, unless a
    /// claim in hand or a distance is another one now: all is looked at then.
    fn want_referenced(&mut self) {
        if !self.followed.is_current {
            self.followed.in_hand = self.active_in_hand();
            self.followed.is_current = true;
            self.set_all_new(true);
        }
        loop {
            self.distances.is_any_nearer = false;
            self.want_named();
            if self.is_any_object_new() {
                self.want_given_back();
            }
            self.want_of_owners();
            let is_any_nearer = self.distances.is_any_nearer;
            self.set_all_new(is_any_nearer);
            if !is_any_nearer {
                #[cfg(debug_assertions)]
                self.assert_nothing_overlooked();
                return;
            }
        }
    }

    /// Looks at all as though it were new, and finds nothing else to want.
    #[cfg(debug_assertions)]
    fn assert_nothing_overlooked(&mut self) {
        let wanted = |set: &Self| {
            (
                set.invoices.missing(),
                set.checkout_sessions.missing(),
                set.bookings.missing(),
                set.claimants.missing(),
                set.payment_intents.missing(),
                set.refunds_elsewhere.missing(),
            )
        };
        let before = wanted(self);
        assert_eq!(self.followed.in_hand, self.active_in_hand());
        assert_eq!(self.followed.owners, self.owners());
        self.set_all_new(true);
        self.want_named();
        self.want_given_back();
        self.want_of_owners();
        self.set_all_new(false);
        assert!(!self.distances.is_any_nearer && before == wanted(self));
    }

    fn set_all_new(&mut self, is_new: bool) {
        self.invoices.set_new(is_new);
        self.checkout_sessions.set_new(is_new);
        self.bookings.set_new(is_new);
        self.claimants.set_new(is_new);
        self.charges.set_new(is_new);
        self.credit_notes.set_new(is_new);
    }

    /// Whether an object is new that something can be given back of, or that says so.
    fn is_any_object_new(&self) -> bool {
        self.invoices.iter_new().next().is_some()
            || self.checkout_sessions.iter_new().next().is_some()
            || self.charges.iter_new().next().is_some()
            || self.credit_notes.iter_new().next().is_some()
    }

    /// Wants the bookings that objects name, and the invoices that sessions name.
    fn want_named(&mut self) {
        let far = &mut self.distances;
        for (id, invoice) in self.invoices.iter_new() {
            let distance = far.invoices.of(id);
            for booking in invoice
                .by_claim
                .active()
                .into_iter()
                .filter_map(|one| one.booking)
            {
                far.is_any_nearer |= far.bookings.want(&mut self.bookings, &booking, distance);
            }
        }
        for (id, session) in self.checkout_sessions.iter_new() {
            let linked = session.by_claim.parts();
            let linked = linked.filter_map(|(_, part)| value(&part.invoice));
            let distance = match self.checkout_sessions.is_wanted(id) {
                true => far.checkout_sessions.of(id),
                // It came with an invoice or a payment that it names.
                false => linked
                    .clone()
                    .map(|invoice| far.invoices.of(invoice))
                    .min()
                    .unwrap_or_default(),
            };
            // One that expired can turn out to be paid, and claims its booking again.
            for booking in session.by_claim.named_last() {
                far.is_any_nearer |= far.bookings.want(&mut self.bookings, &booking, distance);
            }
            for invoice in linked {
                far.is_any_nearer |= far.invoices.want(&mut self.invoices, invoice, distance);
            }
        }
    }

    /// Wants the objects of the owners of bookings that can change.
    fn want_of_owners(&mut self) {
        let Followed {
            in_hand, owners, ..
        } = &mut self.followed;
        let far = &mut self.distances;
        for (id, booking) in self.bookings.iter_new() {
            match holders::owner(*id, booking, in_hand) {
                Some(owner) => drop(owners.insert(*id, owner)),
                None => drop(owners.remove(id)),
            }
            if far.bookings.is_unchanged(id) {
                continue;
            }
            // The row that the main app reads may show an invoice of another claim.
            if let Some(row) = booking.app.as_ref().and_then(|app| app.row.as_ref()) {
                let (shown, distance) = (&row.stripe_invoice_id, far.bookings.of(id) + 1);
                far.is_any_nearer |= far.invoices.want(&mut self.invoices, shown, distance);
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
        for (key, claimants) in self.claimants.iter() {
            let (id, account) = key;
            let is_new = self.claimants.is_new(key) || self.bookings.is_new(id);
            if !is_new || !matches!(owners.get(id), Some(Owner::Account(owner)) if owner == account)
            {
                continue;
            }
            let distance = far.bookings.of(id) + 1;
            for claimed in claimants {
                far.is_any_nearer |= match &claimed.by.object {
                    ObjectId::Invoice(id) => far.invoices.want(&mut self.invoices, id, distance),
                    ObjectId::CheckoutSession(id) => {
                        let sessions = &mut self.checkout_sessions;
                        far.checkout_sessions.want(sessions, id, distance)
                    }
                };
            }
        }
    }

    /// Wants the invoices of the charges and notes in hand, and what was given back of them.
    fn want_given_back(&mut self) {
        for invoice in self.invoices_given_back() {
            let far = &mut self.distances;
            far.is_any_nearer |= far.invoices.want(&mut self.invoices, &invoice, 0);
        }
        for intent in self.payment_intents_given_back() {
            self.payment_intents.want(&intent);
        }
        for key in self.refund_keys() {
            self.refunds_elsewhere.want(&key);
        }
    }
}
