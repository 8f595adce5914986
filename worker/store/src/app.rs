//! The tables that the main app reads, `"Invoice"` and `"HostOnboarding"`, and
//! the one that it owns, `"Booking"`. All are found by the search path.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::{
    OptionalExtension, QueryResult, QueryableByName,
    sql_types::{Bool, Integer, Nullable, Text, Timestamp},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::statement::{bulk, lookup};
use domain::{
    amount,
    claim::{BookingId, Owner, PLATFORM},
    place::Placed,
};

/// A row of `"Invoice"`: a booking's current invoice.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Shown {
    /// `"bookingId"`
    #[diesel(sql_type = Integer)]
    pub booking_id: BookingId,
    /// `"stripeInvoiceId"`
    #[diesel(sql_type = Text)]
    pub stripe_invoice_id: String,
    /// `"pdfUrl"`, empty where there is none yet.
    #[diesel(sql_type = Text)]
    pub pdf_url: String,
    /// `"amount"` in major units, without trailing zeros.
    #[diesel(sql_type = Text)]
    pub amount: String,
    /// `"currency"`
    #[diesel(sql_type = Text)]
    pub currency: String,
    /// `"status"`
    #[diesel(sql_type = Text)]
    pub status: String,
    /// `"createdAt"`, in UTC.
    #[diesel(sql_type = Timestamp)]
    pub created_at: NaiveDateTime,
}

impl Shown {
    /// The row that shows an invoice as a booking's; `None` for one that cannot
    /// be shown.
    pub fn new(booking_id: BookingId, id: &str, placed: &Placed) -> Option<Self> {
        let shown = &placed.shown;
        let currency = shown.currency.as_ref()?.value.clone();
        let made = shown.created.as_ref().map(|said| said.value);
        let created = made.unwrap_or(shown.status.version.created);
        Some(Self {
            booking_id,
            stripe_invoice_id: id.to_owned(),
            pdf_url: shown
                .pdf_url
                .as_ref()
                .map(|said| said.value.clone())
                .unwrap_or_default(),
            amount: amount::major(shown.total.as_ref()?.value, &currency),
            currency,
            status: shown.status.value.shown_as()?.to_owned(),
            created_at: DateTime::from_timestamp(created, 0)?.naive_utc(),
        })
    }
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = Integer)]
    id: i32,
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Nullable<Text>)]
    account: Option<String>,
}

#[derive(QueryableByName)]
struct Yes {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

/// Whether the main app's bookings are here, so that an invoice must wait for
/// its booking's row.
///
/// # Errors
/// As Postgres says.
pub async fn has_bookings(mut conn: &AsyncPgConnection) -> QueryResult<bool> {
    let row: Yes = diesel::sql_query(r#"SELECT to_regclass('"Booking"') IS NOT NULL AS yes"#)
        .get_result(&mut conn)
        .await?;
    Ok(row.yes)
}

lookup! {
    Existing { BookingId => Integer }
    "SELECT \"id\" AS id FROM \"Booking\" WHERE \"id\" = ANY(" ")"
}

/// Which of the bookings the main app has.
///
/// # Errors
/// As Postgres says.
pub async fn existing(
    mut conn: &AsyncPgConnection,
    bookings: &[BookingId],
) -> QueryResult<BTreeSet<BookingId>> {
    if bookings.is_empty() {
        return Ok(BTreeSet::new());
    }
    let rows: Vec<Number> = Existing(bookings).load(&mut conn).await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Whose a booking is by the deployment's own query: its first column as text,
/// the booking's id as `$1`. A null is the platform; no row is not known yet.
///
/// # Errors
/// As Postgres says.
pub async fn owner(
    mut conn: &AsyncPgConnection,
    query: &str,
    booking: BookingId,
) -> QueryResult<Owner> {
    let wrapped = format!("SELECT o.account::text AS account FROM ({query}) AS o(account) LIMIT 1");
    let row: Option<Name> = diesel::sql_query(wrapped)
        .bind::<Integer, _>(booking)
        .get_result(&mut conn)
        .await
        .optional()?;
    Ok(match row {
        Some(name) => Owner::Account(name.account.unwrap_or_else(|| PLATFORM.to_owned())),
        None => Owner::Unknown,
    })
}

lookup! {
    Current { BookingId => Integer }
    "SELECT \"bookingId\" AS booking_id, \"stripeInvoiceId\" AS stripe_invoice_id, \
        \"pdfUrl\" AS pdf_url, trim_scale(\"amount\")::text AS amount, \"currency\" AS currency, \
        \"status\"::text AS status, \"createdAt\" AS created_at \
     FROM \"Invoice\" WHERE \"bookingId\" = ANY(" ")"
}

/// The rows of the bookings named.
///
/// # Errors
/// As Postgres says.
pub async fn shown(
    mut conn: &AsyncPgConnection,
    bookings: &[BookingId],
) -> QueryResult<BTreeMap<BookingId, Shown>> {
    if bookings.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<Shown> = Current(bookings).load(&mut conn).await?;
    Ok(rows.into_iter().map(|row| (row.booking_id, row)).collect())
}

bulk! {
    Add {
        booking: BookingId => Integer,
        invoice: &'a str => Text,
        pdf: &'a str => Text,
        amount: &'a str => Text,
        currency: &'a str => Text,
        status: &'a str => Text,
        created: NaiveDateTime => Timestamp,
    }
    "INSERT INTO \"Invoice\" (\"bookingId\", \"stripeInvoiceId\", \"pdfUrl\", \"amount\", \
        \"currency\", \"status\", \"createdAt\") \
     SELECT b, i, p, a::numeric, c, s::\"InvoiceStatus\", t FROM"
    "AS n(b, i, p, a, c, s, t)"
}

bulk! {
    Replace {
        booking: BookingId => Integer,
        invoice: &'a str => Text,
        pdf: &'a str => Text,
        amount: &'a str => Text,
        currency: &'a str => Text,
        status: &'a str => Text,
        created: NaiveDateTime => Timestamp,
    }
    "UPDATE \"Invoice\" SET \"stripeInvoiceId\" = n.i, \"pdfUrl\" = n.p, \
        \"amount\" = n.a::numeric, \"currency\" = n.c, \"status\" = n.s::\"InvoiceStatus\", \
        \"createdAt\" = n.t FROM"
    "AS n(b, i, p, a, c, s, t) WHERE \"bookingId\" = n.b"
}

macro_rules! columns {
    ($statement:ident, $rows:expr) => {{
        let mut statement = $statement::default();
        for row in $rows {
            statement.booking.push(row.booking_id);
            statement.invoice.push(&row.stripe_invoice_id);
            statement.pdf.push(&row.pdf_url);
            statement.amount.push(&row.amount);
            statement.currency.push(&row.currency);
            statement.status.push(&row.status);
            statement.created.push(row.created_at);
        }
        statement
    }};
}

/// Adds the rows of bookings that have none.
///
/// # Errors
/// As Postgres says; a foreign key is violated where a booking is not there.
pub async fn add(mut conn: &AsyncPgConnection, rows: &[Shown]) -> QueryResult<()> {
    if rows.is_empty() {
        return Ok(());
    }
    columns!(Add, rows).execute(&mut conn).await.map(drop)
}

/// Replaces the rows of bookings that have one.
///
/// # Errors
/// As Postgres says.
pub async fn replace(mut conn: &AsyncPgConnection, rows: &[Shown]) -> QueryResult<()> {
    if rows.is_empty() {
        return Ok(());
    }
    columns!(Replace, rows).execute(&mut conn).await.map(drop)
}

lookup! {
    Remove { BookingId => Integer }
    "DELETE FROM \"Invoice\" WHERE \"bookingId\" = ANY(" ")"
}

/// Removes the rows of bookings that have no invoice any more.
///
/// # Errors
/// As Postgres says.
pub async fn remove(mut conn: &AsyncPgConnection, bookings: &[BookingId]) -> QueryResult<()> {
    if bookings.is_empty() {
        return Ok(());
    }
    Remove(bookings).execute(&mut conn).await.map(drop)
}

/// A row of `"HostOnboarding"`; the columns are described in the README.
#[derive(Clone, Debug)]
pub struct Host {
    /// `"stripeAccountId"`
    pub account_id: String,
    /// `"hostId"`
    pub host_id: Option<String>,
    /// `"status"`
    pub status: &'static str,
    /// `"canSell"`
    pub can_sell: bool,
    /// `"chargesEnabled"`
    pub charges_enabled: bool,
    /// `"payoutsEnabled"`
    pub payouts_enabled: bool,
    /// `"detailsSubmitted"`
    pub details_submitted: bool,
    /// `"currentlyDue"`
    pub currently_due: Vec<String>,
    /// `"pastDue"`
    pub past_due: Vec<String>,
    /// `"eventuallyDue"`
    pub eventually_due: Vec<String>,
    /// `"pendingVerification"`
    pub pending_verification: Vec<String>,
    /// `"disabledReason"`
    pub disabled_reason: Option<String>,
    /// `"currentDeadline"`
    pub deadline: Option<DateTime<Utc>>,
    /// `"type"`
    pub kind: Option<String>,
    /// `"country"`
    pub country: Option<String>,
    /// `"defaultCurrency"`
    pub default_currency: Option<String>,
    /// `"lastEventAt"`
    pub last_event_at: DateTime<Utc>,
    /// `"createdAt"`
    pub created_at: DateTime<Utc>,
    /// `"updatedAt"`
    pub updated_at: DateTime<Utc>,
}

bulk! {
    WriteHosts {
        id: &'a str => Text,
        host: Option<&'a str> => Nullable<Text>,
        status: &'a str => Text,
        can_sell: bool => Bool,
        charges: bool => Bool,
        payouts: bool => Bool,
        details: bool => Bool,
        currently: String => Text,
        past: String => Text,
        eventually: String => Text,
        pending: String => Text,
        reason: Option<&'a str> => Nullable<Text>,
        deadline: Option<NaiveDateTime> => Nullable<Timestamp>,
        kind: Option<&'a str> => Nullable<Text>,
        country: Option<&'a str> => Nullable<Text>,
        currency: Option<&'a str> => Nullable<Text>,
        last: NaiveDateTime => Timestamp,
        created: NaiveDateTime => Timestamp,
        updated: NaiveDateTime => Timestamp,
    }
    "INSERT INTO \"HostOnboarding\" (\"stripeAccountId\", \"hostId\", \"status\", \"canSell\", \
        \"chargesEnabled\", \"payoutsEnabled\", \"detailsSubmitted\", \"currentlyDue\", \
        \"pastDue\", \"eventuallyDue\", \"pendingVerification\", \"disabledReason\", \
        \"currentDeadline\", \"type\", \"country\", \"defaultCurrency\", \"lastEventAt\", \
        \"createdAt\", \"updatedAt\") \
     SELECT id, host, status::\"HostOnboardingStatus\", can_sell, charges, payouts, details, \
        currently::text[], past::text[], eventually::text[], pending::text[], reason, deadline, \
        kind, country, currency, last, created, updated FROM"
    "AS n(id, host, status, can_sell, charges, payouts, details, currently, past, eventually, \
        pending, reason, deadline, kind, country, currency, last, created, updated) \
     ON CONFLICT (\"stripeAccountId\") DO UPDATE SET \"hostId\" = excluded.\"hostId\", \
        \"status\" = excluded.\"status\", \"canSell\" = excluded.\"canSell\", \
        \"chargesEnabled\" = excluded.\"chargesEnabled\", \
        \"payoutsEnabled\" = excluded.\"payoutsEnabled\", \
        \"detailsSubmitted\" = excluded.\"detailsSubmitted\", \
        \"currentlyDue\" = excluded.\"currentlyDue\", \"pastDue\" = excluded.\"pastDue\", \
        \"eventuallyDue\" = excluded.\"eventuallyDue\", \
        \"pendingVerification\" = excluded.\"pendingVerification\", \
        \"disabledReason\" = excluded.\"disabledReason\", \
        \"currentDeadline\" = excluded.\"currentDeadline\", \"type\" = excluded.\"type\", \
        \"country\" = excluded.\"country\", \"defaultCurrency\" = excluded.\"defaultCurrency\", \
        \"lastEventAt\" = excluded.\"lastEventAt\", \"createdAt\" = excluded.\"createdAt\", \
        \"updatedAt\" = excluded.\"updatedAt\""
}

/// Writes rows whole, new ones and known ones.
///
/// # Errors
/// As Postgres says.
pub async fn write_hosts(mut conn: &AsyncPgConnection, rows: &[Host]) -> QueryResult<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut write = WriteHosts::default();
    for row in rows {
        write.id.push(&row.account_id);
        write.host.push(row.host_id.as_deref());
        write.status.push(row.status);
        write.can_sell.push(row.can_sell);
        write.charges.push(row.charges_enabled);
        write.payouts.push(row.payouts_enabled);
        write.details.push(row.details_submitted);
        write.currently.push(array(&row.currently_due));
        write.past.push(array(&row.past_due));
        write.eventually.push(array(&row.eventually_due));
        write.pending.push(array(&row.pending_verification));
        write.reason.push(row.disabled_reason.as_deref());
        write.deadline.push(row.deadline.map(|at| at.naive_utc()));
        write.kind.push(row.kind.as_deref());
        write.country.push(row.country.as_deref());
        write.currency.push(row.default_currency.as_deref());
        write.last.push(row.last_event_at.naive_utc());
        write.created.push(row.created_at.naive_utc());
        write.updated.push(row.updated_at.naive_utc());
    }
    write.execute(&mut conn).await.map(drop)
}

/// A list as Postgres writes it. Arrays of arrays must be of one length, so the
/// lists of several rows cannot be sent as an array.
fn array(values: &[String]) -> String {
    let quoted: Vec<String> = values
        .iter()
        .map(|value| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
        .collect();
    format!("{{{}}}", quoted.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_quoted_whatever_it_holds() {
        let values = ["a", "with \"quotes\"", "back\\slash", "{,}", "", "NULL"].map(String::from);
        assert_eq!(
            array(&values),
            r#"{"a","with \"quotes\"","back\\slash","{,}","","NULL"}"#
        );
        assert_eq!(array(&[]), "{}");
    }
}
