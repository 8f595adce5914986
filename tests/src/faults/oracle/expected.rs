//! The rows that a set of events ends in.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    faults::world::{Tale, World},
    reference::{self, Kept, Said, Sign, SignKind, What},
};

/// All that must be in the tables, as lines of text, and what the ledger is
/// judged by.
#[derive(Debug)]
pub(super) struct Expected {
    tables: [BTreeSet<String>; 6],
    /// Events whose claim is refused.
    refused: BTreeSet<String>,
    /// Bookings that more than one account claims: how often one of their events
    /// was judged depends on which of them came first.
    contested: BTreeSet<i32>,
}

impl Expected {
    pub(super) fn after(world: &World) -> Self {
        let (mut said, mut signs): (Vec<Said>, BTreeMap<&str, Vec<Sign>>) = Default::default();
        for tale in &world.tales {
            match tale {
                Tale::Object(one) => said.push(one.clone()),
                Tale::Account { account, sign } => {
                    signs.entry(account).or_default().push(sign.clone());
                }
                Tale::Flawed { .. } | Tale::Unwanted { .. } => {}
            }
        }
        let kept = reference::kept(&said);
        Self {
            tables: [
                shown(&said),
                hosts(&signs),
                invoices(&kept),
                sessions(&said),
                claims(&said),
                transitions(&signs),
            ],
            refused: reference::refused(&said)
                .into_iter()
                .map(str::to_owned)
                .collect(),
            contested: contested(&said),
        }
    }

    /// In the order of the queries.
    pub(super) fn tables(&self) -> &[BTreeSet<String>; 6] {
        &self.tables
    }

    /// Whether the event names another account's booking.
    pub(super) fn is_refused(&self, said: &Said) -> bool {
        self.refused.contains(&said.id)
    }

    /// Whether the event names a booking that another account names as well.
    pub(super) fn is_contested(&self, said: &Said) -> bool {
        said.booking.is_some_and(|id| self.contested.contains(&id))
    }
}

fn contested(said: &[Said]) -> BTreeSet<i32> {
    let mut claimants: BTreeMap<i32, BTreeSet<&str>> = BTreeMap::new();
    for one in said {
        if let Some(booking) = one.booking {
            claimants.entry(booking).or_default().insert(&one.account);
        }
    }
    let several = claimants.into_iter().filter(|(_, who)| who.len() > 1);
    several.map(|(booking, _)| booking).collect()
}

fn shown(said: &[Said]) -> BTreeSet<String> {
    let rows = reference::shown(said, None).into_iter();
    rows.map(|(booking, invoice, status, minor, currency, pdf, made)| {
        // In thousandths of the major unit.
        let thousandths = minor
            * match currency.as_str() {
                "jpy" => 1000,
                "kwd" => 1,
                _ => 10,
            };
        let pdf = if pdf.is_empty() { "-" } else { &pdf };
        format!("{booking} {invoice} {status} {thousandths} {currency} {pdf} {made}")
    })
    .collect()
}

fn hosts(signs: &BTreeMap<&str, Vec<Sign>>) -> BTreeSet<String> {
    let hosts = signs.iter().map(|(account, signs)| {
        let (status, can_sell, winner) = reference::host(signs);
        let winner = winner.as_deref().unwrap_or("-");
        format!("{account} {status} {can_sell} {winner}")
    });
    hosts.collect()
}

fn invoices(kept: &BTreeMap<String, Kept>) -> BTreeSet<String> {
    let lines = kept.iter().map(|(id, kept)| {
        let status = kept.status.as_deref().unwrap_or("-");
        let booking = kept.booking.map_or("-".to_owned(), |id| id.to_string());
        let waiting = kept.waiting.unwrap_or("-");
        format!("{id} {status} {booking} {waiting}")
    });
    lines.collect()
}

fn sessions(said: &[Said]) -> BTreeSet<String> {
    let lines = reference::sessions(said).into_iter();
    lines
        .map(|(id, payment, status, invoice)| {
            let known = [payment, status, invoice].map(|value| value.unwrap_or("-".to_owned()));
            format!("{id} {}", known.join(" "))
        })
        .collect()
}

/// Of each account and object that claims a booking, the first event.
fn claims(said: &[Said]) -> BTreeSet<String> {
    let mut first: BTreeMap<String, (i64, &str)> = BTreeMap::new();
    for one in said {
        let Some(booking) = one.booking else {
            continue;
        };
        let (kind, id) = match &one.what {
            What::Invoice { id, .. } => ("invoice", id),
            What::Session { id, .. } => ("session", id),
            What::Charge { id, .. } => ("charge", id),
            What::Note { id, .. } => ("note", id),
        };
        let claim = (one.created, one.id.as_str());
        let known = first
            .entry(format!("{booking} {} {kind} {id}", one.account))
            .or_insert(claim);
        *known = claim.min(*known);
    }
    let lines = first
        .iter()
        .map(|(who, (_, event))| format!("{who} {event}"));
    lines.collect()
}

fn transitions(signs: &BTreeMap<&str, Vec<Sign>>) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for (account, signs) in signs {
        for sign in signs {
            let kind = match sign.what {
                SignKind::Deauthorized(_) => "deauthorized",
                SignKind::Authorized(_) => "authorized",
                SignKind::Updated { .. } => "updated",
                // The story has none: a thin event is no row of the history.
                SignKind::Closed => "closed",
            };
            lines.insert(format!("{account} {} {kind}", sign.id));
        }
    }
    lines
}
