//! `stripe.invoice`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, QueryDsl, QueryResult, Queryable, Selectable, SelectableHelper,
    sql_types::{BigInt, Bool, Integer, Jsonb, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Deserialize;
use serde_json::Value;

use crate::{schema::invoice, statement::bulk};
use domain::{
    claim::{BookingId, Claim, Claimed},
    fields::moment,
    invoice::{Invoice, Status},
    place::Placed,
    version::{Register, Slot, Version, said},
    world::Again,
};

/// A row of `stripe.invoice`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = invoice)]
pub struct Row {
    id: String,
    account: String,
    claimed_booking_id: Option<BookingId>,
    booking_id: Option<BookingId>,
    status: String,
    total: Option<i64>,
    currency: Option<String>,
    created: Option<DateTime<Utc>>,
    number: Option<String>,
    hosted_invoice_url: Option<String>,
    invoice_pdf: Option<String>,
    event_created: DateTime<Utc>,
    event_id: String,
    waiting: Option<String>,
    parts: Option<Value>,
}

impl Row {
    /// The row of an invoice as it has to be.
    pub fn new(id: &str, claimed: &Claimed<Invoice>, placed: &Placed) -> Self {
        let shown = &placed.shown;
        let version = &shown.status.version;
        let claim = claimed.latest().map(|(claim, _)| claim);
        let plain = claimed.len() == 1 && shown.is_of_one_event();
        Self {
            id: id.to_owned(),
            account: placed.account.clone(),
            claimed_booking_id: claim.and_then(|claim| claim.booking),
            booking_id: placed.booking,
            status: shown.status.value.as_str().to_owned(),
            total: text(&shown.total),
            currency: text(&shown.currency),
            created: text(&shown.created).map(moment),
            number: text(&shown.number),
            hosted_invoice_url: text(&shown.hosted_url),
            invoice_pdf: text(&shown.pdf_url),
            event_created: moment(version.created),
            event_id: version.event_id.clone(),
            waiting: placed.waiting.map(|waiting| waiting.code().to_owned()),
            parts: if plain {
                None
            } else {
                serde_json::to_value(claimed).ok()
            },
        }
    }

    /// The invoice's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Why the row waits, where it does.
    pub fn waiting(&self) -> Option<&str> {
        self.waiting.as_deref()
    }

    /// What is known of the invoice.
    ///
    /// # Errors
    /// The row holds what this worker did not write.
    pub fn claimed(&self) -> Result<Claimed<Invoice>, serde_json::Error> {
        if let Some(parts) = &self.parts {
            return Claimed::deserialize(parts);
        }
        let status = Status::parse(&self.status).ok_or_else(|| {
            <serde_json::Error as serde::de::Error>::custom("an unknown status in stripe.invoice")
        })?;
        let version = Version {
            rank: status.rank(),
            created: self.event_created.timestamp(),
            event_id: self.event_id.clone(),
        };
        let slot = |value: &Option<String>| said(value.clone(), &version);
        let invoice = Invoice {
            total: said(self.total, &version),
            currency: slot(&self.currency),
            created: said(self.created.map(|at| at.timestamp()), &version),
            number: slot(&self.number),
            hosted_url: slot(&self.hosted_invoice_url),
            pdf_url: slot(&self.invoice_pdf),
            status: Register {
                value: status,
                version,
            },
        };
        let claim = Claim {
            account: self.account.clone(),
            booking: self.claimed_booking_id,
        };
        Ok(Claimed::of(claim, invoice))
    }
}

fn text<T: Clone>(slot: &Slot<T>) -> Option<T> {
    slot.as_ref().map(|said| said.value.clone())
}

/// The rows of the invoices named.
///
/// # Errors
/// As Postgres says.
pub async fn load(
    mut conn: &AsyncPgConnection,
    ids: &[String],
) -> QueryResult<BTreeMap<String, Row>> {
    let rows: Vec<Row> = invoice::table
        .filter(invoice::id.eq_any(ids))
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
        booking: Option<BookingId> => Nullable<Integer>,
        status: &'a str => Text,
        total: Option<i64> => Nullable<BigInt>,
        currency: Option<&'a str> => Nullable<Text>,
        created: Option<DateTime<Utc>> => Nullable<Timestamptz>,
        number: Option<&'a str> => Nullable<Text>,
        hosted: Option<&'a str> => Nullable<Text>,
        pdf: Option<&'a str> => Nullable<Text>,
        event_created: DateTime<Utc> => Timestamptz,
        event_id: &'a str => Text,
        waiting: Option<&'a str> => Nullable<Text>,
        parts: Option<&'a Value> => Nullable<Jsonb>,
    }
    "INSERT INTO stripe.invoice (id, account, claimed_booking_id, booking_id, status, total, \
        currency, created, number, hosted_invoice_url, invoice_pdf, event_created, event_id, \
        waiting, parts) SELECT * FROM"
    "ON CONFLICT (id) DO UPDATE SET account = excluded.account, \
        claimed_booking_id = excluded.claimed_booking_id, booking_id = excluded.booking_id, \
        status = excluded.status, total = excluded.total, currency = excluded.currency, \
        created = excluded.created, number = excluded.number, \
        hosted_invoice_url = excluded.hosted_invoice_url, invoice_pdf = excluded.invoice_pdf, \
        event_created = excluded.event_created, event_id = excluded.event_id, \
        waiting = excluded.waiting, parts = excluded.parts, updated_at = now()"
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
        write.booking.push(row.booking_id);
        write.status.push(&row.status);
        write.total.push(row.total);
        write.currency.push(row.currency.as_deref());
        write.created.push(row.created);
        write.number.push(row.number.as_deref());
        write.hosted.push(row.hosted_invoice_url.as_deref());
        write.pdf.push(row.invoice_pdf.as_deref());
        write.event_created.push(row.event_created);
        write.event_id.push(&row.event_id);
        write.waiting.push(row.waiting.as_deref());
        write.parts.push(row.parts.as_ref());
    }
    write.execute(&mut conn).await.map(drop)
}

/// Up to `limit` invoices and sessions after `after` that wait for a row of the
/// main app and might have got it: their booking is there now, or its owner may
/// be known. Gives back the last of them as well.
///
/// # Errors
/// As Postgres says.
pub async fn due(
    mut conn: &AsyncPgConnection,
    has_bookings: bool,
    after: &str,
    limit: i64,
) -> QueryResult<Option<(Again, String)>> {
    let due = if has_bookings {
        "(waiting = 'booking_missing' AND EXISTS (SELECT FROM \"Booking\" b WHERE b.id = booking_id))"
    } else {
        "waiting = 'booking_missing'"
    };
    let query = format!(
        "(SELECT id, true AS is_invoice FROM stripe.invoice \
            WHERE waiting IS NOT NULL AND id > $1 AND ({due} OR waiting = 'owner_unknown') \
            ORDER BY id LIMIT $2) \
         UNION \
         (SELECT DISTINCT object_id, type NOT LIKE 'checkout.%' FROM stripe.event \
            WHERE outcome = 'waiting' AND reason = 'owner_unknown' \
                AND claimed_booking_id IS NOT NULL AND object_id > $1 \
            ORDER BY object_id LIMIT $2) \
         ORDER BY id LIMIT $2"
    );
    let rows: Vec<Due> = diesel::sql_query(query)
        .bind::<Text, _>(after)
        .bind::<BigInt, _>(limit)
        .load(&mut conn)
        .await?;
    let Some(last) = rows.last().map(|row| row.id.clone()) else {
        return Ok(None);
    };
    let mut again = Again::default();
    for row in rows {
        match row.is_invoice {
            true => again.invoices.insert(row.id),
            false => again.sessions.insert(row.id),
        };
    }
    Ok(Some((again, last)))
}

#[derive(diesel::QueryableByName)]
struct Due {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Bool)]
    is_invoice: bool,
}
