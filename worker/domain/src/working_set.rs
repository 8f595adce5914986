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
    merge::{Change, Merge, value},
    ownership::{
        ClaimKey, Claimant, Claimed, FirstClaim, MAX_OBJECTS, ObjectClaims, Owner, Owners,
    },
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

/// What is known of one booking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Booking {
    /// What the main app's tables say of it; `None` until they are read.
    pub app: Option<AppBooking>,
    /// The earliest active claim by an object that is not in hand.
    pub first_elsewhere: Option<Claimed>,
}

impl Booking {
    /// Whose the booking is by the deployment's own query, where there is one.
    pub fn configured_owner(&self) -> Option<&Owner> {
        self.app.as_ref()?.configured_owner.as_ref()
    }
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
    /// Objects whose claims are wanted.
    pub claims: Vec<ObjectId>,
    /// Bookings, each with an account that names it by objects.
    pub claimants: Vec<(BookingId, AccountId)>,
    /// The objects in hand: the claims on a booking are asked for without theirs, which the
    /// working set has.
    pub in_hand: Vec<ObjectId>,
}

impl Missing {
    fn is_empty(&self) -> bool {
        let Self {
            invoices,
            checkout_sessions,
            accounts,
            bookings,
            claims,
            claimants,
            in_hand: _,
        } = self;
        invoices.is_empty()
            && checkout_sessions.is_empty()
            && accounts.is_empty()
            && bookings.is_empty()
            && claims.is_empty()
            && claimants.is_empty()
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
    /// The claims of the objects asked for.
    pub claims: BTreeMap<ObjectId, ObjectClaims>,
    /// The first active claims of each booking and account asked for,
    /// [`MAX_OBJECTS`] at most.
    pub claimants: BTreeMap<(BookingId, AccountId), Vec<Claimed>>,
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
    /// The claims of the objects in hand: those of which an event came.
    pub claims: Objects<ObjectId, ObjectClaims>,
    claimants: Objects<(BookingId, AccountId), Vec<Claimed>>,
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
            match &event.data {
                EventData::Invoice(data) => set.invoices.want(&data.id),
                EventData::CheckoutSession(data) => {
                    set.checkout_sessions.want(&data.id);
                    if let Some(invoice) = value(&data.session.invoice) {
                        set.invoices.want(invoice);
                    }
                }
                EventData::Account(data) => set.accounts.want(&data.id),
                EventData::Ignored(_) => {}
            }
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
                claims: self.claims.missing(),
                claimants: self.claimants.missing(),
                in_hand: self.claims.wanted.iter().cloned().collect(),
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
            } = source.load(&missing).await?;
            self.invoices.insert(missing.invoices, invoices);
            self.checkout_sessions
                .insert(missing.checkout_sessions, checkout_sessions);
            self.accounts.insert(missing.accounts, accounts);
            self.bookings.insert(missing.bookings, bookings);
            self.claims.insert(missing.claims, claims);
            self.claimants.insert(missing.claimants, claimants);
            self.pending.extend(pending);
        }
    }

    fn want_referenced(&mut self) {
        for (_, invoice) in self.invoices.iter() {
            for (_, booking) in invoice.by_claim.active() {
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
        match object {
            ObjectId::Invoice(id) => {
                let invoice = self.invoices.get(id);
                invoice.is_some_and(|known| known.by_claim.names_too_many())
            }
            ObjectId::CheckoutSession(id) => {
                let session = self.checkout_sessions.get(id);
                session.is_some_and(|known| known.by_claim.names_too_many())
            }
        }
    }

    /// The active claims of an object.
    pub fn active(&self, object: &ObjectId) -> BTreeSet<ClaimKey> {
        fn keys<T: Merge + Clone>(by_claim: &ByClaim<T>) -> BTreeSet<ClaimKey> {
            let active = by_claim.active().into_iter();
            active
                .map(|(claim, booking)| (claim.account.clone(), booking))
                .collect()
        }
        match object {
            ObjectId::Invoice(id) => {
                let invoice = self.invoices.get(id);
                invoice
                    .map(|known| keys(&known.by_claim))
                    .unwrap_or_default()
            }
            ObjectId::CheckoutSession(id) => {
                let session = self.checkout_sessions.get(id);
                session
                    .map(|known| keys(&known.by_claim))
                    .unwrap_or_default()
            }
        }
    }

    /// The active claims of the objects in hand, by booking.
    fn active_in_hand(&self) -> BTreeMap<BookingId, Vec<Claimed>> {
        let mut active: BTreeMap<BookingId, Vec<Claimed>> = BTreeMap::new();
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

    /// The claim that has each booking: the earliest one that is active. Where the
    /// deployment's own query decides, the earliest of the account that it names.
    pub fn holders(&self) -> BTreeMap<BookingId, Claimed> {
        let mut in_hand = self.active_in_hand();
        let mut holders = BTreeMap::new();
        for (id, booking) in self.bookings.iter() {
            let mut claims = in_hand.remove(id).unwrap_or_default();
            claims.extend(booking.first_elsewhere.clone());
            if let Some(Owner::Account(account)) = booking.configured_owner() {
                let elsewhere = self.claimants.get(&(*id, account.clone()));
                claims.extend(elsewhere.into_iter().flatten().cloned());
                claims.retain(|claim| claim.by.account == *account);
            }
            if let Some(first) = claims.into_iter().min() {
                holders.insert(*id, first);
            }
        }
        holders
    }

    /// Whose each booking is: as the deployment's own query says, else the account of the
    /// earliest claim.
    pub fn owners(&self) -> Owners {
        let mut in_hand = self.active_in_hand();
        let mut owners = Owners::new();
        for (id, booking) in self.bookings.iter() {
            let claims = in_hand.remove(id).unwrap_or_default();
            let first = claims.iter().chain(&booking.first_elsewhere).min();
            let first = || first.map(|claim| Owner::Account(claim.by.account.clone()));
            if let Some(owner) = booking.configured_owner().cloned().or_else(first) {
                owners.insert(*id, owner);
            }
        }
        owners
    }

    /// Whose each booking was before the first event was merged.
    pub fn owners_before(&self) -> Owners {
        let before = self.owners_before.clone();
        before.unwrap_or_else(|| self.owners())
    }

    /// The objects by which the owner of a booking names it and which do not count, because
    /// [`MAX_OBJECTS`] others came before them.
    pub fn crowded_out(&self, owners: &Owners) -> BTreeSet<(ObjectId, BookingId)> {
        let mut in_hand = self.active_in_hand();
        let mut crowded_out = BTreeSet::new();
        for ((id, account), elsewhere) in self.claimants.iter() {
            if !matches!(owners.get(id), Some(Owner::Account(owner)) if owner == account) {
                continue;
            }
            let mut claims = in_hand.remove(id).unwrap_or_default();
            claims.retain(|claim| claim.by.account == *account);
            if claims.len() + elsewhere.len() < MAX_OBJECTS {
                continue;
            }
            claims.extend(elsewhere.iter().cloned());
            claims.sort();
            let counted: BTreeSet<&ObjectId> = claims
                .iter()
                .take(MAX_OBJECTS)
                .map(|one| &one.by.object)
                .collect();
            let objects = self.objects_that_name(*id, account);
            let out = objects.filter(|object| !counted.contains(object));
            crowded_out.extend(out.map(|object| (object, *id)));
        }
        crowded_out
    }

    /// The loaded objects by which the account names the booking.
    fn objects_that_name<'a>(
        &'a self,
        booking: BookingId,
        account: &'a AccountId,
    ) -> impl Iterator<Item = ObjectId> + 'a {
        let invoices = self
            .invoices
            .iter()
            .map(|(id, _)| ObjectId::Invoice(id.clone()));
        let sessions = self.checkout_sessions.iter();
        let sessions = sessions.map(|(id, _)| ObjectId::CheckoutSession(id.clone()));
        invoices
            .chain(sessions)
            .filter(move |object| self.active(object).contains(&(account.clone(), booking)))
    }
}
