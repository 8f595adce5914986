//! The working set: all that a batch of events touches, in memory.
//!
//! A batch has the set loaded from a [`Source`], merges its events into it, has
//! loaded what turned out to be missing, and reads off the rows as they have to be.
//! Nothing here depends on the order in which events came.
//!
//! An object is added as one field of [`WorkingSet`], [`Missing`] and [`Loaded`]; the
//! compiler then asks every source for its loader.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
};

use crate::{
    account::Account,
    account_snapshot::AccountSnapshot,
    by_claim::ByClaim,
    checkout_session::CheckoutSession,
    event::{Event, EventData},
    ids::{AccountId, BookingId, CheckoutSessionId, InvoiceId, ObjectId},
    invoice::Invoice,
    main_app::{AppBooking, Pending, Target},
    merge::{Change, value},
    ownership::{Booking, Claimant, FirstClaim, Owner, Owners},
    rejection::Rejection,
    rows::StoredProjection,
};

/// What to compute anew although no event of it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recheck {
    /// Invoices and sessions: the part that they missed may be there now.
    pub objects: BTreeSet<ObjectId>,
    /// Rows of the main app's: what was in their way may be gone.
    pub targets: BTreeSet<Target>,
}

/// What a source gives for an invoice that it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredInvoice {
    /// What its events said.
    pub by_claim: ByClaim<Invoice>,
    /// Its row as it is projected now; `None` where there is no row.
    pub projection: Option<StoredProjection>,
}

/// What a source gives for a session that it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredCheckoutSession {
    /// What its events said.
    pub by_claim: ByClaim<CheckoutSession>,
    /// Whether its row says that a claim of it is undecided.
    pub is_undecided: bool,
}

/// The keys of what has to be loaded before the next step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Invoices, and the sessions that name them.
    pub invoices: Vec<InvoiceId>,
    /// Checkout Sessions.
    pub checkout_sessions: Vec<CheckoutSessionId>,
    /// Connected accounts.
    pub accounts: Vec<AccountId>,
    /// Bookings.
    pub bookings: Vec<BookingId>,
}

impl Missing {
    fn is_empty(&self) -> bool {
        let Self {
            invoices,
            checkout_sessions,
            accounts,
            bookings,
        } = self;
        invoices.is_empty()
            && checkout_sessions.is_empty()
            && accounts.is_empty()
            && bookings.is_empty()
    }
}

/// The answer to a [`Missing`]: what there is of it. What is left out is new.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The invoices asked for.
    pub invoices: BTreeMap<InvoiceId, StoredInvoice>,
    /// The sessions asked for, and those that name an invoice asked for.
    pub checkout_sessions: BTreeMap<CheckoutSessionId, StoredCheckoutSession>,
    /// The accounts asked for.
    pub accounts: BTreeMap<AccountId, Account>,
    /// The bookings asked for.
    pub bookings: BTreeMap<BookingId, Booking>,
    /// Those of the accounts and bookings asked for whose row is pending.
    pub pending: BTreeMap<Target, Pending>,
}

/// Where a working set is loaded from: PostgreSQL, or the memory of a test.
pub trait Source {
    /// Why it could not be loaded.
    type Error;

    /// Loads what there is of `missing`.
    ///
    /// # Errors
    /// The source cannot be read now.
    fn load(&self, missing: &Missing) -> impl Future<Output = Result<Loaded, Self::Error>> + Send;

    /// Whether the deployment's own query says whose a booking is.
    fn has_owner_query(&self) -> bool;

    /// Reads what the main app's tables say of the bookings. Where they cannot be read,
    /// that is what it gives: it is no error.
    ///
    /// # Errors
    /// The source cannot be read now.
    fn load_app(
        &self,
        bookings: &[BookingId],
    ) -> impl Future<Output = Result<BTreeMap<BookingId, AppBooking>, Self::Error>> + Send;
}

/// The objects of one kind: which are wanted, and the state of those loaded.
#[derive(Debug)]
pub struct Objects<K, S> {
    wanted: BTreeSet<K>,
    loaded: BTreeMap<K, Tracked<S>>,
}

#[derive(Debug)]
struct Tracked<S> {
    state: S,
    change: Change,
}

impl<K, S> Default for Objects<K, S> {
    fn default() -> Self {
        Self {
            wanted: BTreeSet::new(),
            loaded: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone, S: Default> Objects<K, S> {
    fn want(&mut self, key: &K) {
        if !self.wanted.contains(key) {
            self.wanted.insert(key.clone());
        }
    }

    /// The wanted objects that are not loaded.
    fn missing(&self) -> Vec<K> {
        let missing = self.wanted.iter();
        let missing = missing.filter(|key| !self.loaded.contains_key(*key));
        missing.cloned().collect()
    }

    /// Takes in what a source had of the keys asked for; the rest is new.
    fn insert(&mut self, asked: Vec<K>, mut stored: BTreeMap<K, S>) {
        let change = Change::Unchanged;
        for key in asked {
            let state = stored.remove(&key).unwrap_or_default();
            self.loaded.insert(key, Tracked { state, change });
        }
        // What came unasked may be loaded, and changed, already.
        for (key, state) in stored {
            self.loaded.entry(key).or_insert(Tracked { state, change });
        }
    }

    /// Changes an object.
    ///
    /// # Panics
    /// The object was not loaded: its row would be overwritten.
    fn merge(&mut self, key: &K, merge: impl FnOnce(&mut S) -> Change) -> Change {
        let Some(tracked) = self.loaded.get_mut(key) else {
            unreachable!("an object is merged before it is loaded");
        };
        let change = merge(&mut tracked.state);
        tracked.change = tracked.change.or(change);
        change
    }

    /// The state of an object; `None` where it was not loaded.
    pub fn get(&self, key: &K) -> Option<&S> {
        self.loaded.get(key).map(|tracked| &tracked.state)
    }

    /// The objects that were loaded.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &S)> {
        self.loaded.iter().map(|(key, one)| (key, &one.state))
    }

    /// The objects that were loaded, each with whether a merge changed it.
    pub fn iter_changes(&self) -> impl Iterator<Item = (&K, &S, Change)> {
        let loaded = self.loaded.iter();
        loaded.map(|(key, one)| (key, &one.state, one.change))
    }
}

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
            let booking = match &event.data {
                EventData::Invoice(data) => {
                    set.invoices.want(&data.id);
                    &data.booking
                }
                EventData::CheckoutSession(data) => {
                    set.checkout_sessions.want(&data.id);
                    if let Some(invoice) = value(&data.session.invoice) {
                        set.invoices.want(invoice);
                    }
                    &data.booking
                }
                EventData::Account(data) => {
                    set.accounts.want(&data.id);
                    &None
                }
                EventData::Ignored(_) => &None,
            };
            if let Some(booking) = booking {
                set.bookings.want(booking);
            }
        }
        set
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
            let unread = self.bookings.loaded.iter();
            let unread = unread.filter(|(_, booking)| booking.state.app.is_none());
            let unread: Vec<BookingId> = unread.map(|(id, _)| *id).collect();
            if unread.is_empty() {
                return Ok(());
            }
            let mut read = source.load_app(&unread).await?;
            for id in unread {
                if let Some(booking) = self.bookings.loaded.get_mut(&id) {
                    booking.state.app = Some(read.remove(&id).unwrap_or_default());
                }
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
            };
            if missing.is_empty() {
                return Ok(());
            }
            let Loaded {
                invoices,
                checkout_sessions,
                accounts,
                bookings,
                pending,
            } = source.load(&missing).await?;
            self.invoices.insert(missing.invoices, invoices);
            self.checkout_sessions
                .insert(missing.checkout_sessions, checkout_sessions);
            self.accounts.insert(missing.accounts, accounts);
            self.bookings.insert(missing.bookings, bookings);
            self.pending.extend(pending);
        }
    }

    fn want_referenced(&mut self) {
        let Self {
            invoices,
            checkout_sessions,
            bookings,
            has_owner_query,
            ..
        } = self;
        for (_, invoice) in invoices.iter() {
            for booking in invoice.by_claim.bookings() {
                bookings.want(&booking);
            }
        }
        for (_, session) in checkout_sessions.iter() {
            for booking in session.by_claim.bookings() {
                bookings.want(&booking);
            }
            let linked = session.by_claim.parts();
            for invoice in linked.filter_map(|(_, part)| value(&part.invoice)) {
                invoices.want(invoice);
            }
        }
        for (_, booking) in bookings.iter() {
            // The row that the main app reads may show an invoice of another claim.
            if let Some(row) = booking.app.as_ref().and_then(|app| app.row.as_ref()) {
                invoices.want(&row.stripe_invoice_id);
            }
            // Its claims do not say whose it is.
            if booking.app.is_none() && *has_owner_query {
                continue;
            }
            let owner = booking.owner();
            let is_owners = |claimant: &&Claimant| match &owner {
                Some(Owner::Account(account)) => claimant.account == *account,
                Some(Owner::Unknown) | None => true,
            };
            // Objects of other accounts are not shown, whatever they hold. An owner
            // that changes was loaded as the owner before.
            for claimant in booking.claims().keys().filter(is_owners) {
                match &claimant.object {
                    ObjectId::Invoice(id) => invoices.want(id),
                    ObjectId::CheckoutSession(id) => checkout_sessions.want(id),
                }
            }
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

    /// Whether the state of the object was loaded.
    pub fn is_loaded(&self, object: &ObjectId) -> bool {
        match object {
            ObjectId::Invoice(id) => self.invoices.get(id).is_some(),
            ObjectId::CheckoutSession(id) => self.checkout_sessions.get(id).is_some(),
        }
    }

    /// Whether an event of this invoice was ever taken in.
    pub fn knows_invoice(&self, id: &InvoiceId) -> bool {
        let known = self.invoices.get(id);
        known.is_some_and(|invoice| !invoice.by_claim.is_empty())
    }

    /// Takes in what an event says. What it touches must have been loaded.
    ///
    /// # Errors
    /// [`Rejection::TooManyClaims`]; nothing was taken in.
    pub fn merge(&mut self, event: &Event) -> Result<Change, Rejection> {
        let claim = event.claim();
        let mut claimed = Change::Unchanged;
        if let Some((object, claim)) = &claim
            && let Some(booking) = claim.booking
        {
            let claimant = Claimant {
                account: claim.account.clone(),
                object: object.clone(),
            };
            claimed = self.merge_claim(booking, claimant, event)?;
        }
        let change = match (&event.data, claim) {
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
            (EventData::Invoice(_) | EventData::CheckoutSession(_) | EventData::Ignored(_), _) => {
                Change::Unchanged
            }
        };
        Ok(claimed.or(change))
    }

    fn merge_claim(
        &mut self,
        id: BookingId,
        claimant: Claimant,
        event: &Event,
    ) -> Result<Change, Rejection> {
        let first = FirstClaim {
            created: event.header.created,
            event_id: event.header.id.clone(),
        };
        let mut is_full = false;
        let change = self.bookings.merge(&id, |booking| {
            let change = booking.claim(claimant, first);
            is_full = change.is_err();
            change.unwrap_or(Change::Unchanged)
        });
        match is_full {
            true => Err(Rejection::TooManyClaims { booking: id }),
            false => Ok(change),
        }
    }

    /// Takes in what the API said of a tied account; see [`Account::resolve_tie`].
    pub fn resolve_tie(
        &mut self,
        id: &AccountId,
        asked: &Account,
        snapshot: AccountSnapshot,
    ) -> Change {
        let resolve = |account: &mut Account| account.resolve_tie(asked, snapshot);
        self.accounts.merge(id, resolve)
    }

    /// Whose each booking is.
    pub fn owners(&self) -> Owners {
        let bookings = self.bookings.iter();
        bookings
            .filter_map(|(id, booking)| Some((*id, booking.owner()?)))
            .collect()
    }
}
