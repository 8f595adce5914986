//! `stripe.outbox_refund`: what the main app was last told of the refunds of a booking's invoice.

use std::collections::BTreeMap;

use diesel::sql_types::{BigInt, Integer, Text};
use diesel_async::RunQueryDsl;
use domain::{
    given_back::GivenBack,
    ids::{BookingId, InvoiceId},
    news::Refund,
};

use crate::{
    Connection, Result, WriteTx,
    record::{Select, Upsert, filter, record},
};

record! {
    /// A row of `stripe.outbox_refund`.
    #[derive(diesel::Queryable)]
    struct Row in "stripe.outbox_refund" {
        key {
            invoice: String => Text = "invoice_id",
            booking: i32 => Integer = "booking_id",
        }
        refunded: i64 => BigInt = "amount_refunded",
        credited: i64 => BigInt = "amount_credited",
    }
    on update ""
}

filter! {
    ByInvoices { "invoice_id = ANY(" invoices: &'a str => Text, } ")"
}

/// What was told of the invoices named.
pub(crate) async fn load(
    mut conn: &Connection,
    invoices: &[&str],
) -> Result<BTreeMap<(BookingId, InvoiceId), GivenBack>> {
    if invoices.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<Row> = Select::<Row, _>::records(ByInvoices { invoices })
        .load(&mut conn)
        .await?;
    let told = rows.into_iter().map(|row| {
        let given_back = GivenBack {
            refunded: row.refunded,
            credited: row.credited,
        };
        ((BookingId(row.booking), row.invoice.into()), given_back)
    });
    Ok(told.collect())
}

/// Notes what is told of bookings.
pub(crate) async fn write(tx: &WriteTx<'_>, told: &[(BookingId, &Refund)]) -> Result<()> {
    let rows = told.iter().map(|(booking, refund)| Row {
        invoice: refund.invoice.to_string(),
        booking: booking.0,
        refunded: refund.given_back.refunded,
        credited: refund.given_back.credited,
    });
    let rows: Vec<Row> = rows.collect();
    Upsert::rows(tx, &rows).await?;
    Ok(())
}
