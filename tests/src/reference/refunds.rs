//! What was given back of invoices, as a plain fold over a whole set of events.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Said, What,
    invoices::{ProvenInvoices, invoices, proven},
    refused,
};

/// The most charges and the most notes that count for an invoice.
const MOST_COUNTED: usize = 100;

/// What was refunded and what was credited of each invoice of which an event is there.
#[must_use]
pub fn given_back(events: &[Said]) -> BTreeMap<String, (i64, i64)> {
    let refused = refused(events);
    let all: Vec<&Said> = events.iter().collect();
    let proven = proven(events);
    invoices(events, &all, &ProvenInvoices::new())
        .into_iter()
        .map(|(invoice, said)| {
            let mut said = said;
            said.sort_by_key(|event| (event.created, &event.id));
            let accepted = said
                .iter()
                .rev()
                .find(|event| !refused.contains(event.id.as_str()));
            let newest = accepted.unwrap_or(&said[said.len() - 1]).account.as_str();
            let issuer = proven.get(invoice).map_or(newest, |(account, _)| *account);
            let of_issuer = events.iter().filter(|event| event.account == issuer);
            let of_issuer: Vec<&Said> = of_issuer.collect();
            let sums = (refunded(&of_issuer, invoice), credited(&of_issuer, invoice));
            (invoice.to_owned(), sums)
        })
        .collect()
}

/// The payment intents of the sessions of the invoice.
fn intents<'a>(events: &[&'a Said], of: &str) -> BTreeSet<&'a str> {
    let mut sessions: BTreeMap<&str, Vec<&Said>> = BTreeMap::new();
    for event in events {
        if let What::Session { id, .. } = &event.what {
            sessions.entry(id).or_default().push(event);
        }
    }
    let mut intents = BTreeSet::new();
    for said in sessions.values_mut() {
        said.sort_by_key(|event| (event.created, &event.id));
        let (mut first_invoice, mut first_intent) = (None, None);
        for event in said {
            if let What::Session {
                invoice, intent, ..
            } = &event.what
            {
                first_invoice = first_invoice.or(invoice.as_deref());
                first_intent = first_intent.or(intent.as_deref());
            }
        }
        if first_invoice == Some(of) {
            intents.extend(first_intent);
        }
    }
    intents
}

fn refunded(events: &[&Said], of: &str) -> i64 {
    let intents = intents(events, of);
    let mut charges: BTreeMap<&str, Vec<&Said>> = BTreeMap::new();
    for event in events {
        if let What::Charge { id, .. } = &event.what {
            charges.entry(id).or_default().push(event);
        }
    }
    let refunds = charges.into_values().filter_map(|said| {
        let (mut named, mut paid_by, mut newest) = (None, None, (0, 0, ""));
        for event in said {
            if let What::Charge {
                refunded,
                intent,
                invoice,
                ..
            } = &event.what
            {
                named = lesser(named, invoice.as_deref());
                paid_by = lesser(paid_by, intent.as_deref());
                newest = newest.max((event.created, *refunded, event.id.as_str()));
            }
        }
        let is_of = match named {
            Some(named) => named == of,
            None => paid_by.is_some_and(|intent| intents.contains(intent)),
        };
        is_of.then_some(newest.1)
    });
    refunds.take(MOST_COUNTED).sum()
}

fn lesser<'a>(known: Option<&'a str>, new: Option<&'a str>) -> Option<&'a str> {
    known.into_iter().chain(new).min()
}

fn credited(events: &[&Said], of: &str) -> i64 {
    let mut notes: BTreeMap<&str, Vec<&Said>> = BTreeMap::new();
    for event in events {
        if let What::Note { id, .. } = &event.what {
            notes.entry(id).or_default().push(event);
        }
    }
    let credits = notes.into_values().filter_map(|said| {
        let (mut named, mut is_gone, mut newest) = (None, false, (0, "", 0));
        for event in said {
            if let What::Note {
                total,
                is_void,
                invoice,
                ..
            } = &event.what
            {
                named = lesser(named, invoice.as_deref());
                is_gone |= is_void;
                newest = newest.max((event.created, event.id.as_str(), *total));
            }
        }
        (named == Some(of) && !is_gone).then_some(newest.2)
    });
    credits.take(MOST_COUNTED).sum()
}
