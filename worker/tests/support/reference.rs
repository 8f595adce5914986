//! The rules of invoices, sessions, bookings and accounts, as plain folds over
//! a whole set of events. Written apart from the worker's code: nothing is
//! merged, stored or compared with what came before.

use std::collections::{BTreeMap, BTreeSet};

/// One event of an invoice or a session.
#[derive(Clone, Debug)]
pub struct Said {
    pub id: String,
    pub created: i64,
    pub account: String,
    pub booking: Option<i32>,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    Invoice {
        id: String,
        kind: String,
        status: Option<String>,
        total: i64,
        currency: String,
        made: i64,
        pdf: Option<String>,
    },
    Session {
        id: String,
        invoice: Option<String>,
    },
}

/// The main app's rows: booking, invoice, status, minor amount, currency, pdf,
/// created.
pub type Shown = (i32, String, &'static str, i64, String, String, i64);

/// Whose each booking is: the account of the earliest claim.
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
pub fn shown(events: &[Said], exists: Option<&BTreeSet<i32>>) -> Vec<Shown> {
    let owners = owners(events);
    let accepted: Vec<&Said> = events
        .iter()
        .filter(|event| {
            event
                .booking
                .is_none_or(|booking| owners[&booking] == event.account)
        })
        .collect();

    // The first session event that names an invoice links it; the session's
    // last event that names a booking says whose it is.
    let mut sessions: BTreeMap<&str, Vec<&Said>> = BTreeMap::new();
    let mut invoices: BTreeMap<&str, Vec<&Said>> = BTreeMap::new();
    for event in &accepted {
        match &event.what {
            What::Session { id, .. } => sessions.entry(id).or_default().push(event),
            What::Invoice { id, .. } => invoices.entry(id).or_default().push(event),
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

    let mut best: BTreeMap<i32, ((u8, i64, String), Shown)> = BTreeMap::new();
    for (invoice, said) in &mut invoices {
        said.sort_by_key(|event| (rank(event), event.created, event.id.clone()));
        let last = said[said.len() - 1];
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
        let Some(booking) = own.or_else(|| links.get(invoice).map(|link| link.2)) else {
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

/// One event of an account.
#[derive(Clone, Debug)]
pub struct Sign {
    pub id: String,
    pub created: i64,
    pub what: SignKind,
}

#[derive(Clone, Debug)]
pub enum SignKind {
    Deauthorized,
    Authorized,
    /// The values after and, where the event says so, before.
    Updated {
        after: Values,
        before: Option<Values>,
    },
}

/// The part of an account that the generator changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    pub details: bool,
    pub charges: bool,
    pub payouts: bool,
    pub due: bool,
}

/// The status, whether the host can sell, and the winning event.
pub fn host(signs: &[Sign]) -> (String, bool, Option<String>) {
    let newest = |deauthorized: bool| {
        signs
            .iter()
            .filter(|sign| matches!(sign.what, SignKind::Deauthorized) == deauthorized)
            .map(|sign| sign.created)
            .max()
    };
    let cut = newest(true).is_some() && newest(true) >= newest(false);
    let snapshots: Vec<(&Sign, &Values, &Option<Values>)> = signs
        .iter()
        .filter_map(|sign| match &sign.what {
            SignKind::Updated { after, before } => Some((sign, after, before)),
            _ => None,
        })
        .collect();
    let last_second = snapshots.iter().map(|(sign, _, _)| sign.created).max();
    let tied: Vec<_> = snapshots
        .iter()
        .filter(|(sign, _, _)| Some(sign.created) == last_second)
        .collect();
    let unfollowed: Vec<_> = tied
        .iter()
        .filter(|(_, values, _)| {
            !tied
                .iter()
                .any(|(_, after, before)| after != values && before.as_ref() == Some(values))
        })
        .collect();
    let winner = unfollowed
        .iter()
        .map(|candidate| **candidate)
        .max_by_key(|(sign, _, _)| &sign.id)
        .or_else(|| tied.iter().copied().max_by_key(|(sign, _, _)| &sign.id));
    let Some((sign, values, _)) = winner else {
        let status = if cut { "DISCONNECTED" } else { "INCOMPLETE" };
        return (status.into(), false, None);
    };
    let status = match values {
        _ if cut => "DISCONNECTED",
        Values { details: false, .. } => "INCOMPLETE",
        Values {
            charges: true,
            payouts: true,
            due: true,
            ..
        } => "RESTRICTED_SOON",
        Values {
            charges: true,
            payouts: true,
            ..
        } => "ENABLED",
        _ => "RESTRICTED",
    };
    (status.into(), values.charges && !cut, Some(sign.id.clone()))
}
