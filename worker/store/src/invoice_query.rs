//! What operators and the main app ask of any invoice: how it is, and what was given back of
//! it.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension, QueryableByName,
    sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use domain::invoice::FinalizationError;

use crate::{Connection, Result, event_query::Row};

/// An invoice, as it is kept.
#[derive(Clone, Debug, QueryableByName)]
#[allow(missing_docs, reason = "the columns' comments in the database say it")]
pub struct KnownInvoice {
    #[diesel(sql_type = Text)]
    pub id: String,
    #[diesel(sql_type = Text)]
    pub account: String,
    #[diesel(sql_type = Text)]
    pub status: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub waiting: Option<String>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub booking_id: Option<i32>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub total: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub currency: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub number: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub hosted_invoice_url: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub invoice_pdf: Option<String>,
    #[diesel(sql_type = BigInt)]
    pub amount_refunded: i64,
    #[diesel(sql_type = BigInt)]
    pub amount_credited: i64,
    #[diesel(sql_type = Nullable<Text>)]
    pub finalization_error_type: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub finalization_error_code: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub automatic_tax_status: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub created: Option<DateTime<Utc>>,
    #[diesel(sql_type = Text)]
    pub event_id: String,
    #[diesel(sql_type = Timestamptz)]
    pub updated_at: DateTime<Utc>,
}

pub(crate) const COLUMNS: &str = "i.id, i.account, i.status, i.waiting, i.booking_id, i.total, \
    i.currency, i.number, i.hosted_invoice_url, i.invoice_pdf, i.amount_refunded, i.amount_credited, i.finalization_error_type, \
    i.finalization_error_code, i.automatic_tax_status, i.created, i.event_id, i.updated_at";

impl KnownInvoice {
    /// Why it could not be finalised, where it could not.
    pub fn finalization_error(&self) -> Option<FinalizationError> {
        Some(FinalizationError {
            kind: self.finalization_error_type.clone()?,
            code: self.finalization_error_code.clone(),
        })
    }
}

/// Which invoices are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    /// Of this account alone.
    pub account: Option<&'a str>,
    /// Those alone of which something was refunded or credited.
    pub given_back: bool,
    /// Those alone that could not be finalised.
    pub failed: bool,
}

/// A page of invoices behind `after`, by id.
pub async fn list(
    mut conn: &Connection,
    filter: Filter<'_>,
    after: &str,
    limit: i64,
) -> Result<Vec<KnownInvoice>> {
    let query = format!(
        "SELECT {COLUMNS} FROM stripe.invoice i WHERE i.id > $1 \
            AND ($2 IS NULL OR i.account = $2) \
            AND (NOT $3 OR i.amount_refunded > 0 OR i.amount_credited > 0) \
            AND (NOT $4 OR i.finalization_error_type IS NOT NULL) \
         ORDER BY i.id LIMIT $5"
    );
    Ok(diesel::sql_query(query)
        .bind::<Text, _>(after)
        .bind::<Nullable<Text>, _>(filter.account)
        .bind::<Bool, _>(filter.given_back)
        .bind::<Bool, _>(filter.failed)
        .bind::<BigInt, _>(limit)
        .load(&mut conn)
        .await?)
}

/// The invoice with this id.
pub async fn find(mut conn: &Connection, id: &str) -> Result<Option<KnownInvoice>> {
    let query = format!("SELECT {COLUMNS} FROM stripe.invoice i WHERE i.id = $1");
    Ok(diesel::sql_query(query)
        .bind::<Text, _>(id)
        .get_result(&mut conn)
        .await
        .optional()?)
}

/// The invoices with these ids, by id.
pub(crate) async fn of_ids(mut conn: &Connection, ids: &[&str]) -> Result<Vec<KnownInvoice>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let query =
        format!("SELECT {COLUMNS} FROM stripe.invoice i WHERE i.id = ANY($1) ORDER BY i.id");
    Ok(diesel::sql_query(query)
        .bind::<Array<Text>, _>(ids)
        .load(&mut conn)
        .await?)
}

/// The invoice that an event is about, or that its charge or credit note is of.
pub async fn of_event(mut conn: &Connection, event: &Row) -> Result<Option<KnownInvoice>> {
    let (kind, _) = event.event_type.split_once('.').unwrap_or_default();
    let is_of = match kind {
        "invoice" => "i.id = $1",
        "credit_note" => {
            "(i.account, i.id) IN (SELECT n.account, n.invoice_id FROM stripe.credit_note n \
             WHERE n.id = $1 AND n.account = $2)"
        }
        "charge" => {
            "(i.account, i.id) IN (SELECT c.account, coalesce(c.invoice_id, s.invoice_id) \
             FROM stripe.charge c LEFT JOIN stripe.checkout_session s \
                ON s.payment_intent_id = c.payment_intent_id AND s.account = c.account \
             WHERE c.id = $1 AND c.account = $2)"
        }
        _ => return Ok(None),
    };
    let query = format!(
        "SELECT {COLUMNS} FROM stripe.invoice i WHERE {is_of} AND $2 IS NOT NULL \
         ORDER BY i.id LIMIT 1"
    );
    Ok(diesel::sql_query(query)
        .bind::<Nullable<Text>, _>(event.object_id.as_deref())
        .bind::<Text, _>(event.account.as_deref().unwrap_or_default())
        .get_result(&mut conn)
        .await
        .optional()?)
}
