//! `"Invoice"`: the current invoice of each booking.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;
use diesel::sql_types::{Integer, Text, Timestamp};
use diesel_async::RunQueryDsl;
use domain::{
    ids::BookingId,
    projection::InvoiceRowChanges,
    rows::{InvoiceRow, RowStatus},
};
use futures_util::try_join;

use crate::{
    Connection, Result, WriteTx,
    statement::{Insert, Select, Update, filter, lookup, record},
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

/// Writes what has changed.
pub(crate) async fn write(tx: &WriteTx<'_>, changes: &InvoiceRowChanges) -> Result<()> {
    let insert: Vec<Row> = changes.insert.iter().map(Row::new).collect();
    let update: Vec<Row> = changes.update.iter().map(Row::new).collect();
    try_join!(
        Insert::rows(tx, &insert),
        Update::rows(tx, &update),
        delete(tx, &changes.delete),
    )?;
    Ok(())
}

async fn delete(tx: &WriteTx<'_>, bookings: &[BookingId]) -> Result<()> {
    if bookings.is_empty() {
        return Ok(());
    }
    let bookings: Vec<i32> = bookings.iter().map(|booking| booking.0).collect();
    let mut conn: &Connection = tx;
    Delete(&bookings).execute(&mut conn).await?;
    Ok(())
}
