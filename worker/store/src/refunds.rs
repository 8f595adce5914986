//! The charges and credit notes of invoices, without those in hand: one statement for all of
//! them, which a batch that names no invoice does not send.

use std::collections::BTreeMap;

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text},
};
use diesel_async::RunQueryDsl;
use domain::{
    given_back::{Amounts, MAX_COUNTED, RefundKey},
    ids::{AccountId, InvoiceId, PaymentIntentId},
    source::Missing,
};

use crate::{Connection, Result, statement::bulk};

const OF_INVOICE: &str = "invoice";
const OF_PAYMENT_INTENT: &str = "payment_intent";
const NOTES_OF: &str = "notes";
const CHARGE_IN_HAND: &str = "charge";
const NOTE_IN_HAND: &str = "note";

// The statement's text says it.
const _: () = assert!(MAX_COUNTED == 100);

bulk! {
    Find {
        kind: &'static str => Text,
        account: &'a str => Text,
        name: &'a str => Text,
    }
    "WITH given AS MATERIALIZED (SELECT * FROM",
    // What is in hand is looked up in a hash, so that many of them cost as much as one.
    "AS n (kind, account, name)), \
     charges AS MATERIALIZED (SELECT account, name FROM given WHERE kind = 'charge'), \
     notes AS MATERIALIZED (SELECT account, name FROM given WHERE kind = 'note') \
     SELECT g.kind, g.account, g.name, f.id, f.amount FROM given g CROSS JOIN LATERAL (\
        SELECT c.id, c.amount_refunded AS amount FROM stripe.charge c \
        WHERE c.account = g.account AND c.invoice_id = g.name \
            AND (c.account, c.id) NOT IN (SELECT account, name FROM charges) \
        ORDER BY c.id LIMIT 100) AS f WHERE g.kind = 'invoice' \
     UNION ALL \
     SELECT g.kind, g.account, g.name, f.id, f.amount FROM given g CROSS JOIN LATERAL (\
        SELECT c.id, c.amount_refunded AS amount FROM stripe.charge c \
        WHERE c.account = g.account AND c.payment_intent_id = g.name AND c.invoice_id IS NULL \
            AND (c.account, c.id) NOT IN (SELECT account, name FROM charges) \
        ORDER BY c.id LIMIT 100) AS f WHERE g.kind = 'payment_intent' \
     UNION ALL \
     SELECT g.kind, g.account, g.name, f.id, f.amount FROM given g CROSS JOIN LATERAL (\
        SELECT c.id, c.amount FROM stripe.credit_note c \
        WHERE c.account = g.account AND c.invoice_id = g.name AND NOT c.is_void \
            AND (c.account, c.id) NOT IN (SELECT account, name FROM notes) \
        ORDER BY c.id LIMIT 100) AS f WHERE g.kind = 'notes'"
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    account: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = BigInt)]
    amount: i64,
}

impl Found {
    fn key(&self) -> RefundKey {
        let account = AccountId::from(self.account.as_str());
        let name = self.name.as_str();
        match self.kind.as_str() {
            OF_INVOICE => RefundKey::OfInvoice(account, InvoiceId::from(name)),
            OF_PAYMENT_INTENT => RefundKey::OfPaymentIntent(account, PaymentIntentId::from(name)),
            _ => RefundKey::NotesOf(account, InvoiceId::from(name)),
        }
    }
}

/// What there is of `missing.refunds`.
pub(crate) async fn load(
    mut conn: &Connection,
    missing: &Missing,
) -> Result<BTreeMap<RefundKey, Amounts>> {
    if missing.refunds.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut find = Find::default();
    let mut add = |kind, account, name| {
        find.kind.push(kind);
        find.account.push(account);
        find.name.push(name);
    };
    for key in &missing.refunds {
        match key {
            RefundKey::OfInvoice(account, id) => add(OF_INVOICE, account.as_str(), id.as_str()),
            RefundKey::OfPaymentIntent(account, id) => {
                add(OF_PAYMENT_INTENT, account.as_str(), id.as_str());
            }
            RefundKey::NotesOf(account, id) => add(NOTES_OF, account.as_str(), id.as_str()),
        }
    }
    for (account, id) in &missing.charges_in_hand {
        add(CHARGE_IN_HAND, account.as_str(), id.as_str());
    }
    for (account, id) in &missing.credit_notes_in_hand {
        add(NOTE_IN_HAND, account.as_str(), id.as_str());
    }
    let rows: Vec<Found> = find.load(&mut conn).await?;
    let mut found: BTreeMap<RefundKey, Amounts> = BTreeMap::new();
    for row in rows {
        let of_key = found.entry(row.key()).or_default();
        of_key.insert(row.id, row.amount);
    }
    Ok(found)
}
