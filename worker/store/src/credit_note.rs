//! `stripe.credit_note`: every credit note ever seen.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz};
use domain::{
    credit_note::{CreditNote, CreditNoteKey, Credited},
    decode::moment,
    ids::InvoiceId,
};

use crate::{
    Connection, Result, WriteTx,
    record::{Upsert, by_ids, record},
};

record! {
    /// A row of `stripe.credit_note`. It holds the note whole.
    #[derive(diesel::Queryable)]
    struct Row in "stripe.credit_note" {
        key {
            id: String => Text = "id",
            account: String => Text = "account",
        }
        invoice: Option<String> => Nullable<Text> = "invoice_id",
        amount: i64 => BigInt = "amount",
        is_void: bool => Bool = "is_void",
        event_created: DateTime<Utc> => Timestamptz = "event_created",
        event_id: String => Text = "event_id",
    }
    on update "updated_at = now()"
}

impl Row {
    /// The row of a note; `None` where no event was taken.
    fn new((account, id): &CreditNoteKey, note: &CreditNote) -> Option<Self> {
        let credited = note.credited.as_ref()?;
        Some(Self {
            id: id.to_string(),
            account: account.to_string(),
            invoice: note.invoice.as_ref().map(ToString::to_string),
            amount: credited.amount,
            is_void: note.is_void,
            event_created: moment(credited.created),
            event_id: credited.event_id.clone(),
        })
    }

    fn into_note(self) -> (CreditNoteKey, CreditNote) {
        let note = CreditNote {
            credited: Some(Credited {
                created: self.event_created.timestamp(),
                event_id: self.event_id,
                amount: self.amount,
            }),
            is_void: self.is_void,
            invoice: self.invoice.map(InvoiceId::from),
        };
        ((self.account.into(), self.id.into()), note)
    }
}

by_ids!(Row);

/// The notes named.
pub(crate) async fn load(
    conn: &Connection,
    keys: &[CreditNoteKey],
) -> Result<BTreeMap<CreditNoteKey, CreditNote>> {
    let ids: Vec<&str> = keys.iter().map(|(_, id)| id.as_str()).collect();
    let rows: Vec<Row> = by_ids(conn, &ids).await?;
    // What another account's events say under one of these ids is not in hand.
    let stored = rows.into_iter().map(Row::into_note);
    Ok(stored.filter(|(key, _)| keys.contains(key)).collect())
}

/// Writes notes, new ones and known ones.
pub(crate) async fn write(tx: &WriteTx<'_>, notes: &[(&CreditNoteKey, &CreditNote)]) -> Result<()> {
    let rows = notes.iter().filter_map(|(key, note)| Row::new(key, note));
    let rows: Vec<Row> = rows.collect();
    Upsert::rows(tx, &rows).await?;
    Ok(())
}
