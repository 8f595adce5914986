//! The rules of Checkout Sessions.

use std::collections::BTreeMap;

use super::{Said, What};

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
        // A payment that failed is the last that is heard of the status.
        if statuses.contains(&"payment_failed") {
            statuses = vec!["payment_failed"];
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
