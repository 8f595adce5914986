//! What is known of one booking, for whoever asks about it, and the invoices of an account.

use diesel::{
    OptionalExtension, QueryableByName,
    sql_types::{BigInt, Integer, Nullable, Text},
};
use diesel_async::RunQueryDsl;

use crate::{
    Connection, Result,
    invoice_query::{COLUMNS, KnownInvoice},
};

/// The most objects of one booking that are read.
const MOST: i64 = 200;

/// A Checkout Session.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct KnownSession {
    /// Its id.
    #[diesel(sql_type = Text)]
    pub id: String,
    /// `open`, `complete`, `expired` or `payment_failed`.
    #[diesel(sql_type = Nullable<Text>)]
    pub status: Option<String>,
    /// `unpaid`, `paid` or `no_payment_required`.
    #[diesel(sql_type = Nullable<Text>)]
    pub payment_status: Option<String>,
}

/// How far a session is with being paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Its time ran out.
    Expired,
    /// The guest went through it, and the money did not come.
    PaymentFailed,
    /// A guest can pay by it.
    Open,
    /// The guest went through it, and the money is on its way.
    Processing,
    /// It is paid.
    Paid,
}

impl KnownSession {
    /// How far it is. What is not known of it is open.
    pub fn progress(&self) -> Progress {
        if matches!(
            self.payment_status.as_deref(),
            Some("paid" | "no_payment_required")
        ) {
            return Progress::Paid;
        }
        match self.status.as_deref() {
            Some("expired") => Progress::Expired,
            Some("complete") => Progress::Processing,
            Some("payment_failed") => Progress::PaymentFailed,
            _ => Progress::Open,
        }
    }
}

const SESSION: &str = "SELECT s.id, s.status, s.payment_status FROM stripe.checkout_session s";

/// A session of an account.
pub async fn session(
    mut conn: &Connection,
    account: &str,
    id: &str,
) -> Result<Option<KnownSession>> {
    let query = format!("{SESSION} WHERE s.id = $1 AND s.account = $2");
    Ok(diesel::sql_query(query)
        .bind::<Text, _>(id)
        .bind::<Text, _>(account)
        .get_result(&mut conn)
        .await
        .optional()?)
}

/// The invoices and sessions that name a booking.
#[derive(Clone, Debug, Default)]
pub struct KnownOfBooking {
    /// The invoices.
    pub invoices: Vec<KnownInvoice>,
    /// The sessions.
    pub sessions: Vec<KnownSession>,
}

/// The invoices and sessions that name a booking, or belong to a session that does.
pub async fn of_booking(mut conn: &Connection, booking: i32) -> Result<KnownOfBooking> {
    let query = format!(
        "{SESSION} WHERE s.id IN (SELECT object_id FROM stripe.booking_claim \
            WHERE booking_id = $1 AND object_kind = 'session' LIMIT $2) ORDER BY s.id"
    );
    let sessions: Vec<KnownSession> = diesel::sql_query(query)
        .bind::<Integer, _>(booking)
        .bind::<BigInt, _>(MOST)
        .load(&mut conn)
        .await?;
    let query = format!(
        "SELECT {COLUMNS} FROM stripe.invoice i WHERE i.id IN (SELECT object_id FROM stripe.booking_claim \
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
        "SELECT {COLUMNS} FROM stripe.invoice i WHERE i.account = $1 AND i.created IS NOT NULL \
         AND ($2 IS NULL OR {behind}) ORDER BY i.created DESC, i.id DESC LIMIT $3"
    );
    Ok(diesel::sql_query(query)
        .bind::<Text, _>(account)
        .bind::<Nullable<Text>, _>(after)
        .bind::<BigInt, _>(limit)
        .load(&mut conn)
        .await?)
}
