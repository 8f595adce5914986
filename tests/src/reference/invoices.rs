//! The rules of invoices: which of them a booking shows, and what is kept of the others.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Said, What,
    claims::{Kind, Object, accepted, accepted_proofs, bookings},
};

/// The main app's rows: booking, invoice, status, minor amount, currency, pdf,
/// created.
pub type Shown = (i32, String, &'static str, i64, String, String, i64);

/// What decides which of a booking's invoices is shown.
type Merit = (u8, bool, i64, String);

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
    let proven = proven(events);
    let mut invoices = invoices(events, &accepted, &proven);

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
        let proof = proven.get(invoice).map(|(_, booking)| *booking);
        let Some(booking) = proof.or(own).or_else(|| links.get(invoice).copied()) else {
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
    let proven = proven(events);
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
    for (id, mut said) in invoices(events, &accepted, &proven) {
        let status = state(last(&mut said)).to_owned();
        let own = named.get(&(Kind::Invoice, id)).copied();
        let proof = proven.get(id).map(|(_, booking)| *booking);
        let booking = proof.or(own).or_else(|| links.get(id).copied());
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

/// The account and the booking of each invoice of a session that a command made.
pub(super) type ProvenInvoices<'a> = BTreeMap<&'a str, (&'a str, i32)>;

/// What is said of each invoice: by the events of the account for which it is proven, else by
/// those that no claim forbids.
pub(super) fn invoices<'a>(
    events: &'a [Said],
    accepted: &[&'a Said],
    proven: &ProvenInvoices<'a>,
) -> BTreeMap<&'a str, Vec<&'a Said>> {
    let accepted: BTreeSet<&str> = accepted.iter().map(|event| event.id.as_str()).collect();
    let mut invoices: BTreeMap<&str, Vec<&Said>> = BTreeMap::new();
    for event in events {
        let What::Invoice { id, .. } = &event.what else {
            continue;
        };
        let is_taken = match proven.get(id.as_str()) {
            Some((account, _)) => event.account == *account,
            None => accepted.contains(event.id.as_str()),
        };
        if is_taken {
            invoices.entry(id).or_default().push(event);
        }
    }
    invoices
}

/// The invoices whose booking is proven: of which the account said something.
pub(super) fn proven(events: &[Said]) -> ProvenInvoices<'_> {
    let (proofs, named) = (accepted_proofs(events), bookings(events));
    let of_proofs: Vec<&Said> = accepted(events)
        .into_iter()
        .filter(|event| match &event.what {
            What::Session { id, .. } => {
                let booking = named.get(&(Kind::Session, id.as_str()));
                let proof = proofs.get(id.as_str());
                proof.is_some_and(|(_, proven)| Some(proven) == booking)
            }
            _ => false,
        })
        .collect();
    let mut proven = ProvenInvoices::new();
    for (invoice, session) in linking(&of_proofs) {
        let (account, booking) = proofs[session];
        let says = |event: &Said| {
            let is_of_it = matches!(&event.what, What::Invoice { id, .. } if id == invoice);
            is_of_it && event.account == account
        };
        if events.iter().any(says) {
            proven.insert(invoice, (account, booking));
        }
    }
    proven
}

/// The booking that a session gives to each invoice: the first session event
/// that names an invoice links it; the session's booking is the invoice's.
fn links<'a>(accepted: &[&'a Said], named: &BTreeMap<Object<'_>, i32>) -> BTreeMap<&'a str, i32> {
    let of_bookings: Vec<&Said> = accepted
        .iter()
        .copied()
        .filter(|event| match &event.what {
            What::Session { id, .. } => named.contains_key(&(Kind::Session, id.as_str())),
            _ => false,
        })
        .collect();
    linking(&of_bookings)
        .into_iter()
        .map(|(invoice, session)| (invoice, named[&(Kind::Session, session)]))
        .collect()
}

/// The session of each invoice that one names: the one whose event did so first. Of the events of
/// a session the first that names an invoice counts.
fn linking<'a>(said: &[&'a Said]) -> BTreeMap<&'a str, &'a str> {
    let mut sessions: BTreeMap<&str, Vec<&Said>> = BTreeMap::new();
    for event in said {
        if let What::Session { id, .. } = &event.what {
            sessions.entry(id).or_default().push(event);
        }
    }
    let mut first: BTreeMap<&str, (i64, &str, &str)> = BTreeMap::new();
    for (session, said) in &mut sessions {
        said.sort_by_key(|event| (event.created, &event.id));
        let link = said.iter().find_map(|event| match &event.what {
            What::Session {
                invoice: Some(invoice),
                ..
            } => Some((event, invoice)),
            _ => None,
        });
        if let Some((event, invoice)) = link {
            let new = (event.created, event.id.as_str(), *session);
            let known = first.entry(invoice).or_insert(new);
            *known = (*known).min(new);
        }
    }
    first
        .into_iter()
        .map(|(invoice, (_, _, session))| (invoice, session))
        .collect()
}

/// Sorts an invoice's events by merit and gives the last.
fn last<'a>(said: &mut [&'a Said]) -> &'a Said {
    said.sort_by_key(|event| (rank(event), event.created, event.id.clone()));
    said[said.len() - 1]
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
