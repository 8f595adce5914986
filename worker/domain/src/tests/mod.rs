//! Tests of the rules one by one, where random histories seldom or never get to them.
//!
//! This file has what the tests share: events, and a source in memory.

mod accounts;
mod changes;
mod claims;
mod decode;
mod merge;
mod news;
mod outcome;
mod projection;
mod reclassify;
mod refunds;
mod rows;
mod stored_form;
mod text_enum;
mod working_set;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::pin,
    sync::Mutex,
    task::{Context, Poll, Waker},
};

use ::event::Mode;
use serde_json::{Value, json};

use crate::{
    account::Account,
    decode::moment,
    event::{Event, decode},
    ids::{AccountId, BookingId, CheckoutSessionId, InvoiceId, ObjectId},
    main_app::{AppBooking, Pending, Target},
    merge::value,
    ownership::{ClaimKey, Claimant, Claimed, MAX_OBJECTS, ObjectClaims, Owner, StoredClaim},
    rows::{InvoiceRow, RowStatus, StoredProjection},
    rules::Rules,
    source::{Booking, Loaded, Missing, Recheck, Source, StoredCheckoutSession, StoredInvoice},
    working_set::WorkingSet,
};

/// The `created` of the events, to which each test adds some seconds.
const START: i64 = 1_760_000_000;

/// The booking that the events name.
const BOOKING: BookingId = BookingId(7);

fn event(id: &str, event_type: &str, account: &str, after: i64, object: Value) -> Event {
    let body = json!({
        "id": id,
        "object": "event",
        "type": event_type,
        "account": account,
        "created": START + after,
        "livemode": false,
        "data": { "object": object },
    });
    decode(body.to_string().as_bytes(), &rules()).unwrap()
}

/// What decoding depends on.
fn rules() -> Rules {
    Rules {
        mode: Mode::Test,
        booking_key: "bookingId".into(),
        client_reference: false,
        application: None,
    }
}

/// An event of the invoice `in_1`, which names this booking.
fn invoice(id: &str, account: &str, booking: Option<&str>, after: i64) -> Event {
    let object = json!({
        "id": "in_1",
        "object": "invoice",
        "status": "open",
        "total": 500,
        "currency": "eur",
        "metadata": { "bookingId": booking },
    });
    event(id, "invoice.finalized", account, after, object)
}

/// An event of the session `cs_1`, which names the invoice `in_1` and [`BOOKING`].
fn session(id: &str, account: &str, after: i64) -> Event {
    session_of_invoice(id, account, "in_1", after)
}

/// An event of the session `cs_1`, which names this invoice and [`BOOKING`].
fn session_of_invoice(id: &str, account: &str, invoice: &str, after: i64) -> Event {
    let object = json!({
        "id": "cs_1",
        "object": "checkout.session",
        "invoice": invoice,
        "payment_status": "paid",
        "status": "complete",
        "metadata": { "bookingId": "7" },
    });
    event(id, "checkout.session.completed", account, after, object)
}

/// An event of the invoice `in_9`, which names [`BOOKING`].
fn other_invoice(id: &str, account: &str, after: i64) -> Event {
    let object = json!({
        "id": "in_9", "object": "invoice", "status": "open",
        "metadata": { "bookingId": "7" },
    });
    event(id, "invoice.finalized", account, after, object)
}

/// An event of an account that changed.
fn account_updated(id: &str, account: &str, after: i64) -> Event {
    let object = json!({ "id": account, "object": "account" });
    event(id, "account.updated", account, after, object)
}

fn owned_by(account: &str) -> Owner {
    Owner::Account(account.into())
}

fn invoice_object(id: &str) -> ObjectId {
    ObjectId::Invoice(id.into())
}

fn session_object(id: &str) -> ObjectId {
    ObjectId::CheckoutSession(id.into())
}

fn recheck(objects: impl IntoIterator<Item = ObjectId>) -> Recheck {
    Recheck {
        objects: objects.into_iter().collect(),
        ..Recheck::default()
    }
}

/// A source in memory. It remembers what it was asked for.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    invoices: BTreeMap<InvoiceId, StoredInvoice>,
    checkout_sessions: BTreeMap<CheckoutSessionId, StoredCheckoutSession>,
    pub(crate) accounts: BTreeMap<AccountId, Account>,
    bookings: BTreeMap<BookingId, Booking>,
    claims: BTreeMap<(ObjectId, ClaimKey), StoredClaim>,
    pending: BTreeMap<Target, Pending>,
    asked: Mutex<Vec<Missing>>,
}

impl Source for Memory {
    type Error = Infallible;

    async fn load(&self, missing: &Missing) -> Result<Loaded, Infallible> {
        self.asked.lock().unwrap().push(missing.clone());
        let is_wanted = |id: &CheckoutSessionId, session: &StoredCheckoutSession| {
            let whole = session.by_claim.whole();
            let names_wanted = whole.is_some_and(|whole| {
                value(&whole.invoice).is_some_and(|id| missing.invoices.contains(id))
            });
            names_wanted || missing.checkout_sessions.contains(id)
        };
        let sessions = self.checkout_sessions.iter();
        let wanted = sessions.filter(|(id, session)| is_wanted(id, session));
        Ok(Loaded {
            invoices: of_keys(&self.invoices, &missing.invoices),
            checkout_sessions: wanted.map(|(id, one)| (id.clone(), one.clone())).collect(),
            accounts: of_keys(&self.accounts, &missing.accounts),
            bookings: self.first_claims(missing),
            claims: missing
                .claims
                .iter()
                .map(|object| (object.clone(), ObjectClaims::new(self.claims_of(object))))
                .collect(),
            claimants: missing
                .claimants
                .iter()
                .map(|key| (key.clone(), self.claimants(key, &missing.in_hand)))
                .collect(),
            pending: self.pending.clone(),
            ..Loaded::default()
        })
    }

    fn has_owner_query(&self) -> bool {
        self.bookings
            .values()
            .any(|booking| booking.configured_owner().is_some())
    }

    async fn load_app(
        &self,
        bookings: &[BookingId],
    ) -> Result<BTreeMap<BookingId, AppBooking>, Infallible> {
        let known = of_keys(&self.bookings, bookings).into_iter();
        Ok(known
            .filter_map(|(id, booking)| Some((id, booking.app?)))
            .collect())
    }
}

fn of_keys<K: Ord + Clone, V: Clone>(all: &BTreeMap<K, V>, keys: &[K]) -> BTreeMap<K, V> {
    let known = keys.iter().filter_map(|key| all.get_key_value(key));
    known.map(|(key, one)| (key.clone(), one.clone())).collect()
}

impl Memory {
    fn claims_of(&self, object: &ObjectId) -> BTreeMap<ClaimKey, StoredClaim> {
        let claims = self.claims.iter();
        let claims = claims.filter(|((of, _), _)| of == object);
        claims
            .map(|((_, key), claim)| (key.clone(), claim.clone()))
            .collect()
    }

    /// The active claims of objects that are not in hand, in their order.
    fn elsewhere<'a>(
        &'a self,
        booking: BookingId,
        in_hand: &'a [ObjectId],
    ) -> impl Iterator<Item = Claimed> + 'a {
        let mut claims: Vec<Claimed> = self
            .claims
            .iter()
            .filter(|((object, key), claim)| {
                claim.is_active && key.1 == booking && !in_hand.contains(object)
            })
            .map(|((object, key), claim)| Claimed {
                first: claim.first.clone(),
                by: Claimant {
                    account: key.0.clone(),
                    object: object.clone(),
                },
            })
            .collect();
        claims.sort();
        claims.into_iter()
    }

    fn first_claims(&self, missing: &Missing) -> BTreeMap<BookingId, Booking> {
        let booking = |id: &BookingId| {
            let booking = Booking {
                first_elsewhere: self.elsewhere(*id, &missing.in_hand).next(),
                ..Booking::default()
            };
            (*id, booking)
        };
        missing.bookings.iter().map(booking).collect()
    }

    fn claimants(&self, key: &(BookingId, AccountId), in_hand: &[ObjectId]) -> Vec<Claimed> {
        let claims = self.elsewhere(key.0, in_hand);
        let of_account = claims.filter(|claim| claim.by.account == key.1);
        of_account.take(MAX_OBJECTS).collect()
    }

    /// What it was asked for since the last call, one entry a load.
    fn take_asked(&self) -> Vec<Missing> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// Keeps the state of a working set, as a commit does.
    fn store(&mut self, set: &WorkingSet) {
        for (id, invoice) in set.invoices.iter() {
            self.invoices.insert(id.clone(), invoice.clone());
        }
        for (id, session) in set.checkout_sessions.iter() {
            self.checkout_sessions.insert(id.clone(), session.clone());
        }
        for (id, account) in set.accounts.iter() {
            self.accounts.insert(id.clone(), account.clone());
        }
        for (id, booking) in set.bookings.iter() {
            let app = booking.app.clone();
            self.bookings.insert(
                *id,
                Booking {
                    app,
                    ..Booking::default()
                },
            );
        }
        for (object, claims) in set.claims.iter() {
            for (key, claim) in claims.changed(&set.active(object)) {
                self.claims.insert((object.clone(), key.clone()), claim);
            }
        }
    }
}

/// A source that has [`BOOKING`]; its owner is given where the deployment has a query.
fn source(configured_owner: Option<Owner>) -> Memory {
    let mut source = Memory::default();
    source.bookings.insert(BOOKING, booking(configured_owner));
    source
}

/// A booking that the main app has.
fn booking(configured_owner: Option<Owner>) -> Booking {
    let app = AppBooking {
        exists: true,
        configured_owner,
        ..AppBooking::default()
    };
    Booking {
        app: Some(app),
        ..Booking::default()
    }
}

impl Memory {
    /// What the main app says of [`BOOKING`].
    fn app(&mut self) -> &mut AppBooking {
        let booking = self.bookings.entry(BOOKING).or_default();
        booking.app.get_or_insert_default()
    }
}

/// The row of [`BOOKING`] that shows this invoice as [`invoice`] builds it.
fn row(invoice: &str) -> InvoiceRow {
    InvoiceRow {
        booking_id: BOOKING,
        stripe_invoice_id: invoice.into(),
        pdf_url: String::new(),
        amount: "5".into(),
        currency: "eur".into(),
        status: Some(RowStatus::Sent),
        created_at: moment(START),
    }
}

/// Loads what is missing. The source in memory is ready at once.
pub(crate) fn load(set: &mut WorkingSet, source: &Memory) {
    let load = pin!(set.load(source));
    match load.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(())) => {}
        Poll::Pending => panic!("the source in memory is not ready"),
    }
}

fn merge_all(set: &mut WorkingSet, events: &[Event]) {
    for event in events {
        let _ = set.merge(event);
    }
}

/// The projection of the invoice `in_1`.
fn projected(set: &WorkingSet) -> StoredProjection {
    let id = InvoiceId::from("in_1");
    set.project().invoices[&id].stored.clone()
}

/// The loaded working set of these events, none of which is merged yet.
fn loaded(source: &Memory, events: &[Event], recheck: &Recheck) -> WorkingSet {
    let mut set = WorkingSet::for_events(events.iter(), recheck);
    load(&mut set, source);
    set
}

/// The working set of these events after all of them are merged.
fn merged(source: &Memory, events: &[Event]) -> WorkingSet {
    merged_with(source, events, &Recheck::default())
}

/// As [`merged`], with objects to compute anew.
fn merged_with(source: &Memory, events: &[Event], recheck: &Recheck) -> WorkingSet {
    let mut set = loaded(source, events, recheck);
    merge_all(&mut set, events);
    load(&mut set, source);
    set
}
