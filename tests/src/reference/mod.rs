//! The rules of invoices, sessions, bookings and accounts, as plain folds over
//! a whole set of events. Written apart from the worker's code: nothing is
//! merged, stored or compared with what came before.

mod events;
mod host;

pub use self::host::{Sign, SignKind, Values, host};

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
    },
}

/// The main app's rows: booking, invoice, status, minor amount, currency, pdf,
/// created.
pub type Shown = (i32, String, &'static str, i64, String, String, i64);

/// Whose each booking is: the account of the earliest claim.
#[must_use]
pub fn owners(events: &[Said]) -> BTreeMap<i32, String> {
    let mut first: BTreeMap<i32, (i64, String, String)> = BTreeMap::new();
    for event in events {
        if let Some(booking) = event.booking {
            let claim = (event.created, event.id.clone(), event.account.clone());
            let known = first.entry(booking).or_insert_with(|| claim.clone());
            if claim < *known {
                *known = claim;
            }
        }
    }
    first
        .into_iter()
        .map(|(booking, (_, _, account))| (booking, account))
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
    let links = links(&accepted);
    let mut invoices = invoices(&accepted);

    let mut best: BTreeMap<i32, ((u8, i64, String), Shown)> = BTreeMap::new();
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
            What::Session { .. } => None,
        });
        let own = said.iter().rev().find_map(|event| event.booking);
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
        let key = (merit, *made, (*invoice).to_owned());
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
    let links = links(&accepted);
    let mut kept: BTreeMap<String, Kept> = events
        .iter()
        .filter_map(|event| match &event.what {
            What::Invoice { id, .. } => Some(id.clone()),
            What::Session { .. } => None,
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
        let own = said.iter().rev().find_map(|event| event.booking);
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

/// The events that no other account's claim forbids.
fn accepted(events: &[Said]) -> Vec<&Said> {
    let owners = owners(events);
    events
        .iter()
        .filter(|event| {
            event
                .booking
                .is_none_or(|booking| owners[&booking] == event.account)
        })
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
/// that names an invoice links it; the session's last event that names a
/// booking says whose it is.
fn links<'a>(accepted: &[&'a Said]) -> BTreeMap<&'a str, i32> {
    let mut sessions: BTreeMap<&str, Vec<&Said>> = BTreeMap::new();
    for event in accepted {
        if let What::Session { id, .. } = &event.what {
            sessions.entry(id).or_default().push(event);
        }
    }
    let mut links: BTreeMap<&str, (i64, &str, i32)> = BTreeMap::new();
    for said in sessions.values_mut() {
        said.sort_by_key(|event| (event.created, &event.id));
        let link = said.iter().find_map(|event| match &event.what {
            What::Session {
                invoice: Some(invoice),
                ..
            } => Some((event, invoice)),
            _ => None,
        });
        let booking = said.iter().rev().find_map(|event| event.booking);
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
        What::Session { .. } => unreachable!(),
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
