//! What is known of one booking, for whoever asks about it, and the invoices of an account.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Integer, Nullable, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use domain::invoice::Status;

use crate::{Connection, Result};

/// The most objects of one booking that are read.
const MOST: i64 = 200;

/// An invoice.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct KnownInvoice {
    /// Its id.
    #[diesel(sql_type = Text)]
    pub id: String,
    /// The account that issued it.
    #[diesel(sql_type = Text)]
    pub account: String,
    /// The booking that it is of.
    #[diesel(sql_type = Nullable<Integer>)]
    pub booking_id: Option<i32>,
    #[diesel(sql_type = Text)]
    status: String,
    /// Its total, in minor units.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub total: Option<i64>,
    /// The currency.
    #[diesel(sql_type = Nullable<Text>)]
    pub currency: Option<String>,
    /// Its number.
    #[diesel(sql_type = Nullable<Text>)]
    pub number: Option<String>,
    /// Stripe's page of it.
    #[diesel(sql_type = Nullable<Text>)]
    pub hosted_invoice_url: Option<String>,
    /// Its PDF.
    #[diesel(sql_type = Nullable<Text>)]
    pub invoice_pdf: Option<String>,
    /// When it was made.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub created: Option<DateTime<Utc>>,
    /// What was refunded of its charges, in minor units.
    #[diesel(sql_type = BigInt)]
    pub amount_refunded: i64,
    /// What it was credited with, in minor units.
    #[diesel(sql_type = BigInt)]
    pub amount_credited: i64,
    /// The type of the error for which Stripe could not finalise it.
    #[diesel(sql_type = Nullable<Text>)]
    pub finalization_error_type: Option<String>,
    /// The code of that error.
    #[diesel(sql_type = Nullable<Text>)]
    pub finalization_error_code: Option<String>,
    /// What it waits for, as a code.
    #[diesel(sql_type = Nullable<Text>)]
    pub waiting: Option<String>,
}

/// A Checkout Session.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct KnownSession {
    /// Its id.
    #[diesel(sql_type = Text)]
    pub id: String,
    /// `open`, `complete` or `expired`.
    #[diesel(sql_type = Nullable<Text>)]
    pub status: Option<String>,
    /// `unpaid`, `paid` or `no_payment_required`.
    #[diesel(sql_type = Nullable<Text>)]
    pub payment_status: Option<String>,
}

/// The invoices and sessions that name a booking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownOfBooking {
    /// The invoices.
    pub invoices: Vec<KnownInvoice>,
    /// The sessions.
    pub sessions: Vec<KnownSession>,
}

impl KnownInvoice {
    /// Its status.
    pub fn status(&self) -> Option<Status> {
        Status::parse(&self.status)
    }

    /// Whether it is the booking's and paid, with something to pay.
    pub fn is_paid(&self) -> bool {
        let is_its = self.booking_id.is_some() && self.is_joined();
        is_its && self.status() == Some(Status::Paid) && self.total.is_none_or(|total| total > 0)
    }

    /// Whether nothing but the booking's row is missing for it to be shown.
    pub fn is_joined(&self) -> bool {
        matches!(self.waiting.as_deref(), None | Some("booking_missing"))
    }
}

const INVOICE: &str = "SELECT i.id, i.account, i.booking_id, i.status, i.total, i.currency, \
    i.number, i.hosted_invoice_url, i.invoice_pdf, i.created, i.waiting, \
    i.amount_refunded, i.amount_credited, i.finalization_error_type, i.finalization_error_code \
    FROM stripe.invoice i";

/// The invoices and sessions that name a booking, or belong to a session that does.
pub async fn of_booking(mut conn: &Connection, booking: i32) -> Result<KnownOfBooking> {
    let sessions: Vec<KnownSession> = diesel::sql_query(
        "SELECT s.id, s.status, s.payment_status FROM stripe.checkout_session s \
         WHERE s.id IN (SELECT object_id FROM stripe.booking_claim \
            WHERE booking_id = $1 AND object_kind = 'session' LIMIT $2) ORDER BY s.id",
    )
    .bind::<Integer, _>(booking)
    .bind::<BigInt, _>(MOST)
    .load(&mut conn)
    .await?;
    let query = format!(
        "{INVOICE} WHERE i.id IN (SELECT object_id FROM stripe.booking_claim \
            WHERE booking_id = $1 AND object_kind = 'invoice' LIMIT $2) \
         OR i.id IN (SELECT s.invoice_id FROM stripe.checkout_session s WHERE s.id IN \
            (SELECT object_id FROM stripe.booking_claim \
             WHERE booking_id = $1 AND object_kind = 'session' LIMIT $2)) ORDER BY i.id"
    );
    let invoices: Vec<KnownInvoice> = diesel::sql_query(query)
        .bind::<Integer, _>(booking)
        .bind::<BigInt, _>(MOST)
        .load(&mut conn)
        .await?;
    Ok(KnownOfBooking { invoices, sessions })
}

/// The invoices of an account behind `after`, the newest first.
pub async fn of_account(
    mut conn: &Connection,
    account: &str,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<KnownInvoice>> {
    let behind = "(i.created, i.id) < (SELECT a.created, a.id FROM stripe.invoice a \
        WHERE a.id = $2 AND a.account = $1)";
    let query = format!(
        "{INVOICE} WHERE i.account = $1 AND i.created IS NOT NULL \
         AND ($2 IS NULL OR {behind}) ORDER BY i.created DESC, i.id DESC LIMIT $3"
    );
    Ok(diesel::sql_query(query)
        .bind::<Text, _>(account)
        .bind::<Nullable<Text>, _>(after)
        .bind::<BigInt, _>(limit)
        .load(&mut conn)
        .await?)
}
