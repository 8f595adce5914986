//! `stripe.checkout_session`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, QueryDsl, QueryResult, Queryable, Selectable,
    SelectableHelper,
    sql_types::{Integer, Jsonb, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Deserialize;
use serde_json::Value;

use crate::{schema::checkout_session, statement::bulk};
use domain::{
    claim::{BookingId, Claim, Claimed, Join},
    fields::moment,
    session::{Session, payment_rank, status_rank},
    version::{Slot, Version, said},
};

/// A row of `stripe.checkout_session`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = checkout_session)]
pub struct Row {
    id: String,
    account: String,
    claimed_booking_id: Option<BookingId>,
    payment_status: Option<String>,
    status: Option<String>,
    invoice_id: Option<String>,
    payment_intent_id: Option<String>,
    event_created: DateTime<Utc>,
    event_id: String,
    parts: Option<Value>,
}

impl Row {
    /// The row of a session: all its parts joined, since whose booking it is
    /// matters to the invoice only. `None` where nothing was said.
    pub fn new(id: &str, claimed: &Claimed<Session>) -> Option<Self> {
        let (claim, latest) = claimed.latest()?;
        let mut whole = latest.clone();
        for (_, part) in claimed.parts() {
            let _ = whole.join(part.clone());
        }
        let plain = claimed.len() == 1 && whole.is_of_one_event();
        Some(Self {
            id: id.to_owned(),
            account: claim.account.clone(),
            claimed_booking_id: claim.booking,
            payment_status: text(&whole.payment_status),
            status: text(&whole.status),
            invoice_id: text(&whole.invoice),
            payment_intent_id: text(&whole.payment_intent),
            event_created: moment(whole.latest.created),
            event_id: whole.latest.event_id,
            parts: if plain {
                None
            } else {
                serde_json::to_value(claimed).ok()
            },
        })
    }

    /// What is known of the session.
    ///
    /// # Errors
    /// The row holds what this worker did not write.
    pub fn claimed(&self) -> Result<Claimed<Session>, serde_json::Error> {
        if let Some(parts) = &self.parts {
            return Claimed::deserialize(parts);
        }
        let version = |rank| Version {
            rank,
            created: self.event_created.timestamp(),
            event_id: self.event_id.clone(),
        };
        let ranked = |value: &Option<String>, rank: fn(&str) -> Option<u8>| {
            let rank = value.as_deref().and_then(rank).unwrap_or_default();
            said(value.clone(), &version(rank))
        };
        let session = Session {
            latest: version(0),
            payment_status: ranked(&self.payment_status, payment_rank),
            status: ranked(&self.status, status_rank),
            invoice: said(self.invoice_id.clone(), &version(0)),
            payment_intent: said(self.payment_intent_id.clone(), &version(0)),
        };
        let claim = Claim {
            account: self.account.clone(),
            booking: self.claimed_booking_id,
        };
        Ok(Claimed::of(claim, session))
    }
}

fn text(slot: &Slot<String>) -> Option<String> {
    slot.as_ref().map(|said| said.value.clone())
}

/// The rows of the sessions named, and of those that name the invoices.
///
/// # Errors
/// As Postgres says.
pub async fn load(
    mut conn: &AsyncPgConnection,
    ids: &[String],
    invoices: &[String],
) -> QueryResult<BTreeMap<String, Row>> {
    let rows: Vec<Row> = checkout_session::table
        .filter(
            checkout_session::id
                .eq_any(ids)
                .or(checkout_session::invoice_id.eq_any(invoices)),
        )
        .select(Row::as_select())
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(|row| (row.id.clone(), row)).collect())
}

bulk! {
    Write {
        id: &'a str => Text,
        account: &'a str => Text,
        claimed: Option<BookingId> => Nullable<Integer>,
        payment_status: Option<&'a str> => Nullable<Text>,
        status: Option<&'a str> => Nullable<Text>,
        invoice: Option<&'a str> => Nullable<Text>,
        payment_intent: Option<&'a str> => Nullable<Text>,
        event_created: DateTime<Utc> => Timestamptz,
        event_id: &'a str => Text,
        parts: Option<&'a Value> => Nullable<Jsonb>,
    }
    "INSERT INTO stripe.checkout_session (id, account, claimed_booking_id, payment_status, status, \
        invoice_id, payment_intent_id, event_created, event_id, parts) SELECT * FROM"
    "ON CONFLICT (id) DO UPDATE SET account = excluded.account, \
        claimed_booking_id = excluded.claimed_booking_id, \
        payment_status = excluded.payment_status, status = excluded.status, \
        invoice_id = excluded.invoice_id, payment_intent_id = excluded.payment_intent_id, \
        event_created = excluded.event_created, event_id = excluded.event_id, \
        parts = excluded.parts, updated_at = now()"
}

/// Writes rows whole, new ones and known ones.
///
/// # Errors
/// As Postgres says.
pub async fn write(mut conn: &AsyncPgConnection, rows: &[Row]) -> QueryResult<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut write = Write::default();
    for row in rows {
        write.id.push(&row.id);
        write.account.push(&row.account);
        write.claimed.push(row.claimed_booking_id);
        write.payment_status.push(row.payment_status.as_deref());
        write.status.push(row.status.as_deref());
        write.invoice.push(row.invoice_id.as_deref());
        write.payment_intent.push(row.payment_intent_id.as_deref());
        write.event_created.push(row.event_created);
        write.event_id.push(&row.event_id);
        write.parts.push(row.parts.as_ref());
    }
    write.execute(&mut conn).await.map(drop)
}
