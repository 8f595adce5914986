//! `stripe.charge`: the charges of which something was refunded.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};
use domain::{
    charge::{Charge, ChargeKey, Refunded},
    decode::moment,
    ids::{InvoiceId, PaymentIntentId},
};

use crate::{
    Connection, Result, WriteTx,
    record::{Upsert, by_ids, record},
};

record! {
    /// A row of `stripe.charge`. It holds the charge whole.
    #[derive(diesel::Queryable)]
    struct Row in "stripe.charge" {
        key {
            id: String => Text = "id",
            account: String => Text = "account",
        }
        payment_intent: Option<String> => Nullable<Text> = "payment_intent_id",
        invoice: Option<String> => Nullable<Text> = "invoice_id",
        amount: Option<i64> => Nullable<BigInt> = "amount",
        amount_refunded: i64 => BigInt = "amount_refunded",
        event_created: DateTime<Utc> => Timestamptz = "event_created",
        event_id: String => Text = "event_id",
    }
    on update "updated_at = now()"
}

impl Row {
    /// The row of a charge; `None` where no event was taken.
    fn new((account, id): &ChargeKey, charge: &Charge) -> Option<Self> {
        let refunded = charge.refunded.as_ref()?;
        Some(Self {
            id: id.to_string(),
            account: account.to_string(),
            payment_intent: charge.payment_intent.as_ref().map(ToString::to_string),
            invoice: charge.invoice.as_ref().map(ToString::to_string),
            amount: refunded.amount,
            amount_refunded: refunded.amount_refunded,
            event_created: moment(refunded.created),
            event_id: refunded.event_id.clone(),
        })
    }

    fn into_charge(self) -> (ChargeKey, Charge) {
        let charge = Charge {
            refunded: Some(Refunded {
                created: self.event_created.timestamp(),
                amount_refunded: self.amount_refunded,
                event_id: self.event_id,
                amount: self.amount,
            }),
            payment_intent: self.payment_intent.map(PaymentIntentId::from),
            invoice: self.invoice.map(InvoiceId::from),
        };
        ((self.account.into(), self.id.into()), charge)
    }
}

by_ids!(Row);

/// The charges named.
pub(crate) async fn load(
    conn: &Connection,
    keys: &[ChargeKey],
) -> Result<BTreeMap<ChargeKey, Charge>> {
    let ids: Vec<&str> = keys.iter().map(|(_, id)| id.as_str()).collect();
    let rows: Vec<Row> = by_ids(conn, &ids).await?;
    // What another account's events say under one of these ids is not in hand.
    let stored = rows.into_iter().map(Row::into_charge);
    Ok(stored.filter(|(key, _)| keys.contains(key)).collect())
}

/// Writes charges, new ones and known ones.
pub(crate) async fn write(tx: &WriteTx<'_>, charges: &[(&ChargeKey, &Charge)]) -> Result<()> {
    let rows = charges
        .iter()
        .filter_map(|(key, charge)| Row::new(key, charge));
    let rows: Vec<Row> = rows.collect();
    Upsert::rows(tx, &rows).await?;
    Ok(())
}
