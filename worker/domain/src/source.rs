//! What a working set asks a source for, and what it gets.
//!
//! An object is added as one field of [`Missing`] and [`Loaded`]; the compiler then asks every
//! source for its loader.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
};

use crate::{
    account::Account,
    by_claim::ByClaim,
    charge::{Charge, ChargeKey},
    checkout_session::CheckoutSession,
    credit_note::{CreditNote, CreditNoteKey},
    given_back::{Amounts, RefundKey},
    ids::{AccountId, BookingId, CheckoutSessionId, InvoiceId, ObjectId, PaymentIntentId},
    invoice::Invoice,
    main_app::{AppBooking, Pending, Target},
    ownership::{Claimed, ObjectClaims, Owner},
    rows::StoredProjection,
};

/// What to compute anew although no event of it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recheck {
    /// Invoices and sessions: the part that they missed may be there now.
    pub objects: BTreeSet<ObjectId>,
    /// Rows of the main app's: what was in their way may be gone.
    pub targets: BTreeSet<Target>,
    /// Bookings: the events of other claims on them may not say yet whose they are.
    pub owners: BTreeSet<BookingId>,
}

impl Recheck {
    /// Each of them by itself.
    pub fn into_single(self) -> impl Iterator<Item = Self> {
        let objects = self.objects.into_iter().map(|object| Self {
            objects: BTreeSet::from([object]),
            ..Self::default()
        });
        let targets = self.targets.into_iter().map(|target| Self {
            targets: BTreeSet::from([target]),
            ..Self::default()
        });
        let owners = self.owners.into_iter().map(|booking| Self {
            owners: BTreeSet::from([booking]),
            ..Self::default()
        });
        objects.chain(targets).chain(owners)
    }
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
    /// Charges.
    pub charges: Vec<ChargeKey>,
    /// Credit notes.
    pub credit_notes: Vec<CreditNoteKey>,
    /// Payment intents: the sessions that name them.
    pub payment_intents: Vec<PaymentIntentId>,
    /// What gives charges and credit notes to invoices.
    pub refunds: Vec<RefundKey>,
    /// The charges in hand, which a [`RefundKey`] is asked for without.
    pub charges_in_hand: Vec<ChargeKey>,
    /// The credit notes in hand, which a [`RefundKey`] is asked for without.
    pub credit_notes_in_hand: Vec<CreditNoteKey>,
}

impl Missing {
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            invoices,
            checkout_sessions,
            accounts,
            bookings,
            claims,
            claimants,
            in_hand: _,
            charges,
            credit_notes,
            payment_intents,
            refunds,
            charges_in_hand: _,
            credit_notes_in_hand: _,
        } = self;
        invoices.is_empty()
            && checkout_sessions.is_empty()
            && accounts.is_empty()
            && bookings.is_empty()
            && claims.is_empty()
            && claimants.is_empty()
            && charges.is_empty()
            && credit_notes.is_empty()
            && payment_intents.is_empty()
            && refunds.is_empty()
    }
}

/// The answer to a [`Missing`]: what there is of it. What is left out is new.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The invoices asked for.
    pub invoices: BTreeMap<InvoiceId, StoredInvoice>,
    /// The sessions asked for, and those that name an invoice or a payment intent asked for.
    pub checkout_sessions: BTreeMap<CheckoutSessionId, StoredCheckoutSession>,
    /// The accounts asked for.
    pub accounts: BTreeMap<AccountId, Account>,
    /// The bookings asked for.
    pub bookings: BTreeMap<BookingId, Booking>,
    /// The claims of the objects asked for.
    pub claims: BTreeMap<ObjectId, ObjectClaims>,
    /// The first active claims of each booking and account asked for,
    /// [`MAX_OBJECTS`](crate::ownership::MAX_OBJECTS) at most.
    pub claimants: BTreeMap<(BookingId, AccountId), Vec<Claimed>>,
    /// Those of the accounts and bookings asked for whose row is pending.
    pub pending: BTreeMap<Target, Pending>,
    /// The charges asked for.
    pub charges: BTreeMap<ChargeKey, Charge>,
    /// The credit notes asked for.
    pub credit_notes: BTreeMap<CreditNoteKey, CreditNote>,
    /// The first of each key asked for by id, [`MAX_COUNTED`](crate::given_back::MAX_COUNTED) at
    /// most.
    pub refunds: BTreeMap<RefundKey, Amounts>,
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
