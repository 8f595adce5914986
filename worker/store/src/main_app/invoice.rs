//! `"Invoice"`: the current invoice of each booking.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDateTime;
use diesel::{
    QueryableByName,
    sql_types::{Integer, Text, Timestamp},
};
use diesel_async::RunQueryDsl;
use domain::{
    ids::BookingId,
    rows::{InvoiceRow, RowStatus},
};

use crate::{
    Connection, Result, WriteTx,
    record::{Insert, Select, Update, filter, record},
    statement::lookup,
};

record! {
    /// A row of `"Invoice"`, but for its `"id"`.
    #[derive(diesel::Queryable)]
    struct Row in "\"Invoice\"" {
        key { booking: i32 => Integer = "\"bookingId\"", }
        invoice: String => Text = "\"stripeInvoiceId\"",
        pdf_url: String => Text = "\"pdfUrl\"",
        amount: String => Text = "\"amount\"" read "trim_scale(\"amount\")::text" cast "::numeric",
        currency: String => Text = "\"currency\"",
        status: String => Text = "\"status\"" read "\"status\"::text" cast "::\"InvoiceStatus\"",
        created_at: NaiveDateTime => Timestamp = "\"createdAt\"",
    }
    on update ""
}

impl Row {
    fn new(row: &InvoiceRow) -> Self {
        Self {
            booking: row.booking_id.0,
            invoice: row.stripe_invoice_id.to_string(),
            pdf_url: row.pdf_url.clone(),
            amount: row.amount.clone(),
            currency: row.currency.clone(),
            status: row.status.map_or("", RowStatus::as_str).to_owned(),
            created_at: row.created_at.naive_utc(),
        }
    }

    fn into_row(self) -> InvoiceRow {
        InvoiceRow {
            booking_id: BookingId(self.booking),
            stripe_invoice_id: self.invoice.into(),
            pdf_url: self.pdf_url,
            amount: self.amount,
            currency: self.currency,
            status: RowStatus::parse(&self.status),
            created_at: self.created_at.and_utc(),
        }
    }
}

filter! {
    ByBookings { "\"bookingId\" = ANY(" bookings: i32 => Integer, } ")"
}

/// The rows of the bookings named.
pub(crate) async fn load(
    mut conn: &Connection,
    bookings: &[i32],
) -> Result<BTreeMap<BookingId, InvoiceRow>> {
    if bookings.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<Row> = Select::<Row, _>::records(ByBookings { bookings })
        .load(&mut conn)
        .await?;
    let rows = rows.into_iter().map(Row::into_row);
    Ok(rows.map(|row| (row.booking_id, row)).collect())
}

lookup! {
    Delete { i32 => Integer }
    "DELETE FROM \"Invoice\" WHERE \"bookingId\" = ANY(" ")"
}

/// Inserts rows. Returns how many were written.
pub(super) async fn insert(tx: &WriteTx<'_>, rows: &[&InvoiceRow]) -> Result<usize> {
    let rows: Vec<Row> = rows.iter().map(|row| Row::new(row)).collect();
    Insert::rows(tx, &rows).await
}

/// Updates rows. Returns how many were written.
pub(super) async fn update(tx: &WriteTx<'_>, rows: &[&InvoiceRow]) -> Result<usize> {
    let rows: Vec<Row> = rows.iter().map(|row| Row::new(row)).collect();
    Update::rows(tx, &rows).await
}

/// Deletes the rows of bookings. Returns how many were deleted.
pub(super) async fn delete(tx: &WriteTx<'_>, bookings: &[i32]) -> Result<usize> {
    if bookings.is_empty() {
        return Ok(0);
    }
    let mut conn: &Connection = tx;
    Ok(Delete(bookings).execute(&mut conn).await?)
}

lookup! {
    LockFree { i32 => Integer }
    "SELECT \"bookingId\" AS id FROM \"Invoice\" WHERE \"bookingId\" = ANY("
    ") FOR UPDATE SKIP LOCKED"
}

#[derive(QueryableByName)]
struct Locked {
    #[diesel(sql_type = Integer)]
    id: i32,
}

/// Locks those rows of the bookings that nobody else has locked, and gives their bookings.
pub(super) async fn lock_free(tx: &WriteTx<'_>, bookings: &[i32]) -> Result<BTreeSet<i32>> {
    if bookings.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut conn: &Connection = tx;
    let rows: Vec<Locked> = LockFree(bookings).load(&mut conn).await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}
