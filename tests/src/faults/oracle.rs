//! What must be true after a run, computed from the events alone, and what of
//! it is not.

pub(super) mod bookings;
mod expected;
mod ledger;

use std::collections::BTreeSet;

use anyhow::Result;
use serde::Serialize;
use tokio_postgres::Client;

use self::expected::Expected;
use super::{story, world::World};

/// At most so many differences of a kind are told.
const TOLD: usize = 5;

/// What is wrong after a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// Events that were answered 200 and have no row in the ledger.
    pub lost: usize,
    /// Events that had more than one effect.
    pub doubled: usize,
    /// Rows, outcomes and dead letters that are not as they must be.
    pub wrong: usize,
    /// Some of it in words.
    pub examples: Vec<String>,
}

impl Findings {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost + self.doubled + self.wrong == 0
    }

    fn lost(&mut self, what: String) {
        self.lost += 1;
        self.tell(what, self.lost);
    }

    fn doubled(&mut self, what: String) {
        self.doubled += 1;
        self.tell(what, self.doubled);
    }

    fn wrong(&mut self, what: String) {
        self.wrong += 1;
        self.tell(what, self.wrong);
    }

    fn tell(&mut self, what: String, count: usize) {
        if count <= TOLD {
            self.examples.push(what);
        }
    }

    /// Every row must be there, and no other one.
    fn compare(&mut self, table: &str, expected: &BTreeSet<String>, seen: &[String]) {
        let found: BTreeSet<&String> = seen.iter().collect();
        if found.len() < seen.len() {
            self.doubled(format!("{table}: {} rows twice", seen.len() - found.len()));
        }
        for row in expected.iter().filter(|row| !found.contains(row)) {
            self.wrong(format!("{table} lacks: {row}"));
        }
        for row in found.into_iter().filter(|row| !expected.contains(*row)) {
            self.wrong(format!("{table} has: {row}"));
        }
    }
}

/// Each table as lines of text, as [`Expected`] tells them.
const TABLES: [(&str, &str); 6] = [
    (
        r#""Invoice""#,
        r#"SELECT concat_ws(' ', "bookingId", "stripeInvoiceId", "status",
           ("amount" * 1000)::bigint, "currency", coalesce(nullif("pdfUrl", ''), '-'),
           extract(epoch FROM "createdAt")::bigint) FROM "Invoice""#,
    ),
    (
        r#""HostOnboarding""#,
        r#"SELECT concat_ws(' ', "stripeAccountId", "status", "canSell"::text, coalesce(a.snapshot_event_id, '-'))
           FROM "HostOnboarding" h JOIN stripe.account a ON a.id = h."stripeAccountId""#,
    ),
    (
        "stripe.invoice",
        "SELECT concat_ws(' ', id, CASE WHEN waiting = 'booking_claimed_by_other_account' THEN '-' ELSE status END, \
         coalesce(booking_id::text, '-'), coalesce(waiting, '-')) FROM stripe.invoice",
    ),
    (
        "stripe.checkout_session",
        "SELECT concat_ws(' ', id, coalesce(payment_status, '-'), coalesce(status, '-'), coalesce(invoice_id, '-')) \
         FROM stripe.checkout_session",
    ),
    (
        "stripe.booking_claim",
        "SELECT concat_ws(' ', booking_id, account, object_kind, object_id, event_id) FROM stripe.booking_claim",
    ),
    (
        "stripe.account_transition",
        "SELECT concat_ws(' ', account_id, event_id, change) FROM stripe.account_transition",
    ),
];

/// Compares the database with what must be in it after all events of a world.
///
/// # Errors
/// When the database cannot be read.
pub async fn examine(client: &Client, world: &World) -> Result<Findings> {
    let expected = Expected::after(world);
    let mut findings = Findings::default();
    ledger::examine(client, world, &expected, &mut findings).await?;
    let tables = TABLES.iter().zip(expected.tables());
    for ((table, query), expected) in tables {
        let rows = client.query(*query, &[]).await?;
        let seen = rows.iter().map(|row| row.get::<_, String>(0));
        let seen: Vec<String> = seen.filter(|row| !story::is_hostile(row)).collect();
        let expected = expected.iter().filter(|row| !story::is_hostile(row));
        findings.compare(table, &expected.cloned().collect(), &seen);
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::Findings;

    #[test]
    fn a_missing_a_strange_and_a_double_row_are_told() {
        let mut findings = Findings::default();
        let expected = ["a", "b"].map(str::to_owned).into();
        findings.compare("t", &expected, &["a".to_owned(), "b".to_owned()]);
        assert!(findings.is_clean());
        let seen = ["a", "a", "c"].map(str::to_owned);
        findings.compare("t", &expected, &seen);
        assert_eq!((findings.doubled, findings.wrong), (1, 2));
        assert_eq!(findings.examples.len(), 3, "{:?}", findings.examples);
    }
}
