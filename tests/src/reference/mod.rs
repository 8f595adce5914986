//! The rules of invoices, sessions, bookings and accounts, as plain folds over
//! a whole set of events. Written apart from the worker's code: nothing is
//! merged, stored or compared with what came before.

mod events;
mod host;
mod refunds;

pub use self::{
    host::{Sign, SignKind, Values, host},
    refunds::given_back,
};

use std::collections::{BTreeMap, BTreeSet};

/// One event of an invoice or a session.
#[derive(Clone, Debug)]
pub struct Said {
    /// The event's id.
    pub id: String,
    /// When it happened, in seconds since 1970.
    pub created: i64,
    /// The account; blank for the platform.
    pub account: String,
    /// The booking that its object names.
    pub booking: Option<i32>,
    /// What it is about.
    pub what: What,
}

/// The object of an event.
#[derive(Clone, Debug)]
pub enum What {
    /// An invoice.
    Invoice {
        /// Its id.
        id: String,
        /// The event's type.
        kind: String,
        /// Its status at Stripe.
        status: Option<String>,
        /// Its total, in the currency's minor unit.
        total: i64,
        /// Its currency.
        currency: String,
        /// When Stripe made it, in seconds since 1970.
        made: i64,
        /// Address of its PDF.
        pdf: Option<String>,
    },
    /// A Checkout Session.
    Session {
        /// Its id.
        id: String,
        /// The invoice that it names.
        invoice: Option<String>,
        /// Its payment status.
        payment: Option<&'static str>,
        /// Its status.
        status: Option<&'static str>,
        /// Its payment intent.
        intent: Option<String>,
    },
    /// A charge of which something was refunded.
    Charge {
        /// Its id.
        id: String,
        /// How much was refunded, in the currency's minor unit.
        refunded: i64,
        /// Its payment intent.
        intent: Option<String>,
        /// Its invoice, as old versions say it.
        invoice: Option<String>,
    },
    /// A credit note.
    Note {
        /// Its id.
        id: String,
        /// Its total, in the currency's minor unit.
        total: i64,
        /// Whether it is void.
        is_void: bool,
        /// Its invoice.
        invoice: Option<String>,
    },
}

/// The main app's rows: booking, invoice, status, minor amount, currency, pdf,
/// created.
pub type Shown = (i32, String, &'static str, i64, String, String, i64);

/// The kinds of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Invoice,
    Session,
    Charge,
    Note,
}

/// The object of an event: its kind and its id.
type Object<'a> = (Kind, &'a str);

/// When an event happened, and its id.
type Moment<'a> = (i64, &'a str);

/// The claims that count, by object and account: the booking, and the first event that named
/// it.
type Claims<'a> = BTreeMap<(Object<'a>, &'a str), (i32, Moment<'a>)>;

/// What decides which of a booking's invoices is shown.
type Merit = (u8, bool, i64, String);

fn object(event: &Said) -> Object<'_> {
    match &event.what {
        What::Invoice { id, .. } => (Kind::Invoice, id),
        What::Session { id, .. } => (Kind::Session, id),
        What::Charge { id, .. } => (Kind::Charge, id),
        What::Note { id, .. } => (Kind::Note, id),
    }
}

/// The most bookings that an object may name, and the most objects of an account that count
/// for a booking.
const MOST_BOOKINGS: usize = 16;
const MOST_OBJECTS: usize = 50;

/// The claims that count: of each object and account the booking that its newest event
/// names, with the first event that named it. A session that expired unpaid makes none, nor
/// does an object that named too many bookings.
fn claims(events: &[Said]) -> Claims<'_> {
    let abandoned: BTreeSet<String> = sessions(events)
        .into_iter()
        .filter(|(_, payment, status, _)| {
            let is_unpaid = payment.as_deref().is_none_or(|payment| payment == "unpaid");
            status.as_deref() == Some("expired") && is_unpaid
        })
        .map(|(id, ..)| id)
        .collect();
    let mut of_objects: BTreeMap<Object<'_>, Vec<&Said>> = BTreeMap::new();
    for event in events {
        of_objects.entry(object(event)).or_default().push(event);
    }
    let mut claims = BTreeMap::new();
    for (object, events) in of_objects {
        let named: BTreeSet<i32> = events.iter().filter_map(|event| event.booking).collect();
        let is_abandoned = object.0 == Kind::Session && abandoned.contains(object.1);
        if named.len() > MOST_BOOKINGS || is_abandoned {
            continue;
        }
        let mut accounts: BTreeMap<&str, Vec<&Said>> = BTreeMap::new();
        for event in events {
            accounts.entry(&event.account).or_default().push(event);
        }
        for (account, mut events) in accounts {
            events.sort_by_key(|event| (event.created, &event.id));
            let Some(booking) = events[events.len() - 1].booking else {
                continue;
            };
            let first = events.iter().find(|event| event.booking == Some(booking));
            let first = first.map_or((0, ""), |event| (event.created, event.id.as_str()));
            claims.insert((object, account), (booking, first));
        }
    }
    claims
}

/// Whose each booking is: the account of the earliest claim that counts.
#[must_use]
pub fn owners(events: &[Said]) -> BTreeMap<i32, String> {
    let mut first: BTreeMap<i32, (Moment<'_>, &str)> = BTreeMap::new();
    for ((_, account), (booking, event)) in claims(events) {
        let known = first.entry(booking).or_insert((event, account));
        *known = (*known).min((event, account));
    }
    first
        .into_iter()
        .map(|(booking, (_, account))| (booking, account.to_owned()))
        .collect()
}

/// The booking of each object: what the newest of its claims says that are not refused, if
/// the object is among the first that name it.
fn bookings(events: &[Said]) -> BTreeMap<Object<'_>, i32> {
    let (owners, claims) = (owners(events), claims(events));
    let mut of_bookings: BTreeMap<i32, Vec<(Moment<'_>, Object<'_>)>> = BTreeMap::new();
    for ((object, account), (booking, first)) in &claims {
        if owners[booking] == *account {
            of_bookings
                .entry(*booking)
                .or_default()
                .push((*first, *object));
        }
    }
    for objects in of_bookings.values_mut() {
        objects.sort_unstable();
        objects.truncate(MOST_OBJECTS);
    }
    let mut newest: BTreeMap<(Object<'_>, &str), &Said> = BTreeMap::new();
    for event in events {
        let known = newest
            .entry((object(event), &event.account))
            .or_insert(event);
        if (event.created, &event.id) > (known.created, &known.id) {
            *known = event;
        }
    }
    let mut last: BTreeMap<Object<'_>, (Moment<'_>, Option<i32>)> = BTreeMap::new();
    for ((object, account), event) in newest {
        let claim = claims.get(&(object, account)).map(|(booking, _)| *booking);
        if claim.is_some_and(|booking| owners[&booking] != account) {
            continue;
        }
        let new = ((event.created, event.id.as_str()), claim);
        let known = last.entry(object).or_insert(new);
        *known = (*known).max(new);
    }
    let named = last.into_iter();
    let named = named.filter_map(|(object, (_, booking))| Some((object, booking?)));
    named
        .filter(|(object, booking)| {
            of_bookings[booking]
                .iter()
                .any(|(_, counted)| counted == object)
        })
        .collect()
}

/// The rows of `"Invoice"` after a set of events. `exists` are the main app's
/// bookings; `None` where all are.
///
/// # Panics
/// Never: only invoices are put among the invoices.
#[must_use]
pub fn shown(events: &[Said], exists: Option<&BTreeSet<i32>>) -> Vec<Shown> {
    let accepted = accepted(events);
    let named = bookings(events);
    let links = links(&accepted, &named);
    let mut invoices = invoices(&accepted);

    let mut best: BTreeMap<i32, (Merit, Shown)> = BTreeMap::new();
    for (invoice, said) in &mut invoices {
        let last = last(said);
        let What::Invoice {
            total,
            currency,
            made,
            ..
        } = &last.what
        else {
            unreachable!()
        };
        let pdf = said.iter().rev().find_map(|event| match &event.what {
            What::Invoice { pdf, .. } => pdf.clone(),
            _ => None,
        });
        let own = named.get(&(Kind::Invoice, *invoice)).copied();
        let Some(booking) = own.or_else(|| links.get(invoice).copied()) else {
            continue;
        };
        let (merit, status) = match state(last) {
            "draft" => (0, "DRAFT"),
            "open" | "uncollectible" => (1, "SENT"),
            "paid" => (2, "PAID"),
            _ => continue,
        };
        if exists.is_some_and(|exists| !exists.contains(&booking)) {
            continue;
        }
        let key = (merit, *total > 0, *made, (*invoice).to_owned());
        let row = (
            booking,
            (*invoice).to_owned(),
            status,
            *total,
            currency.clone(),
            pdf.unwrap_or_default(),
            *made,
        );
        let known = best
            .entry(booking)
            .or_insert_with(|| (key.clone(), row.clone()));
        if key > known.0 {
            *known = (key, row);
        }
    }
    best.into_values().map(|(_, row)| row).collect()
}

/// What is kept of an invoice besides what the main app reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its status, where an event of it is accepted.
    pub status: Option<String>,
    /// The booking that it is of.
    pub booking: Option<i32>,
    /// Why it is not shown, where it could be.
    pub waiting: Option<&'static str>,
}

/// Every invoice after a set of events, where all bookings exist and each
/// invoice either always names its booking or never does.
///
/// # Panics
/// Never: only invoices are put among the invoices.
#[must_use]
pub fn kept(events: &[Said]) -> BTreeMap<String, Kept> {
    let accepted = accepted(events);
    let named = bookings(events);
    let links = links(&accepted, &named);
    let mut kept: BTreeMap<String, Kept> = events
        .iter()
        .filter_map(|event| match &event.what {
            What::Invoice { id, .. } => Some(id.clone()),
            _ => None,
        })
        .map(|id| {
            let refused = Kept {
                status: None,
                booking: None,
                waiting: Some("booking_claimed_by_other_account"),
            };
            (id, refused)
        })
        .collect();
    for (id, mut said) in invoices(&accepted) {
        let status = state(last(&mut said)).to_owned();
        let own = named.get(&(Kind::Invoice, id)).copied();
        let booking = own.or_else(|| links.get(id).copied());
        let is_gone = status == "void" || status == "deleted";
        let waits = booking.is_none() && !is_gone;
        kept.insert(
            id.to_owned(),
            Kept {
                status: Some(status),
                booking,
                waiting: waits.then_some("no_booking"),
            },
        );
    }
    kept
}

/// Whether an event is dead: its claim counts, and the booking is another account's.
#[must_use]
pub fn refused(events: &[Said]) -> BTreeSet<&str> {
    let (owners, claims) = (owners(events), claims(events));
    let is_refused = |event: &&Said| {
        let claim = claims.get(&(object(event), event.account.as_str()));
        claim.is_some_and(|(booking, _)| {
            event.booking == Some(*booking) && owners[booking] != event.account
        })
    };
    let refused = events.iter().filter(is_refused);
    refused.map(|event| event.id.as_str()).collect()
}

/// The events that no other account's claim forbids.
fn accepted(events: &[Said]) -> Vec<&Said> {
    let refused = refused(events);
    let accepted = events.iter();
    accepted
        .filter(|event| !refused.contains(event.id.as_str()))
        .collect()
}

fn invoices<'a>(accepted: &[&'a Said]) -> BTreeMap<&'a str, Vec<&'a Said>> {
    let mut invoices: BTreeMap<&str, Vec<&Said>> = BTreeMap::new();
    for event in accepted {
        if let What::Invoice { id, .. } = &event.what {
            invoices.entry(id).or_default().push(event);
        }
    }
    invoices
}

/// The booking that a session gives to each invoice: the first session event
/// that names an invoice links it; the session's booking is the invoice's.
fn links<'a>(accepted: &[&'a Said], named: &BTreeMap<Object<'_>, i32>) -> BTreeMap<&'a str, i32> {
    let mut sessions: BTreeMap<&str, Vec<&Said>> = BTreeMap::new();
    for event in accepted {
        if let What::Session { id, .. } = &event.what {
            sessions.entry(id).or_default().push(event);
        }
    }
    let mut links: BTreeMap<&str, (i64, &str, i32)> = BTreeMap::new();
    for (session, said) in &mut sessions {
        said.sort_by_key(|event| (event.created, &event.id));
        let link = said.iter().find_map(|event| match &event.what {
            What::Session {
                invoice: Some(invoice),
                ..
            } => Some((event, invoice)),
            _ => None,
        });
        let booking = named.get(&(Kind::Session, *session)).copied();
        if let (Some((event, invoice)), Some(booking)) = (link, booking) {
            let new = (event.created, event.id.as_str(), booking);
            let known = links.entry(invoice).or_insert(new);
            if (new.0, new.1) < (known.0, known.1) {
                *known = new;
            }
        }
    }
    links
        .into_iter()
        .map(|(invoice, (_, _, booking))| (invoice, booking))
        .collect()
}

/// Sorts an invoice's events by merit and gives the last.
fn last<'a>(said: &mut [&'a Said]) -> &'a Said {
    said.sort_by_key(|event| (rank(event), event.created, event.id.clone()));
    said[said.len() - 1]
}

/// A session, its payment status, its status and its invoice.
pub type SeenSession = (String, Option<String>, Option<String>, Option<String>);

/// What is known of each session, whoever claims its booking.
#[must_use]
pub fn sessions(events: &[Said]) -> Vec<SeenSession> {
    let mut said: BTreeMap<&str, Vec<&Said>> = BTreeMap::new();
    for event in events {
        if let What::Session { id, .. } = &event.what {
            said.entry(id).or_default().push(event);
        }
    }
    let sessions = said.into_iter().map(|(session, mut said)| {
        said.sort_by_key(|event| (event.created, &event.id));
        let (mut payments, mut statuses, mut links) = (Vec::new(), Vec::new(), Vec::new());
        for event in said {
            if let What::Session {
                invoice,
                payment,
                status,
                ..
            } = &event.what
            {
                payments.extend(*payment);
                statuses.extend(*status);
                links.extend(invoice.clone());
            }
        }
        // What ended stays ended: of the ends, and else of the rest, the last.
        let last = |all: Vec<&'static str>, begins: &str| {
            let end = all.iter().rfind(|value| **value != begins);
            end.or(all.last()).map(|value| (*value).to_owned())
        };
        (
            session.to_owned(),
            last(payments, "unpaid"),
            last(statuses, "open"),
            links.into_iter().next(),
        )
    });
    sessions.collect()
}

/// An amount in major units, without trailing zeros. Of the currencies that the
/// generator uses.
#[must_use]
pub fn major(minor: i64, currency: &str) -> String {
    let digits = match currency {
        "jpy" => 0,
        "kwd" => 3,
        _ => 2,
    };
    let text = format!("{minor:0width$}", width = digits + 1);
    let (whole, part) = text.split_at(text.len() - digits);
    let part = part.trim_end_matches('0');
    let dot = if part.is_empty() { "" } else { "." };
    format!("{whole}{dot}{part}")
}

fn state(event: &Said) -> &str {
    match &event.what {
        What::Invoice { kind, .. } if kind == "invoice.deleted" => "deleted",
        What::Invoice { status, .. } => status.as_deref().unwrap_or("draft"),
        _ => unreachable!(),
    }
}

fn rank(event: &Said) -> u8 {
    match state(event) {
        "draft" => 0,
        "open" => 1,
        "uncollectible" => 2,
        _ => 3,
    }
}
