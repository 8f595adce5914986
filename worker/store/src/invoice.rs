//! `stripe.invoice`: every invoice ever seen.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Bool, Integer, Jsonb, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use domain::{
    by_claim::ByClaim,
    changes::ChangedInvoice,
    decode::moment,
    ids::{BookingId, InvoiceId},
    invoice::{Invoice, Status},
    merge::{EventOrder, Register, set_by},
    ownership::Claim,
    projection::{StoredProjection, WaitingFor},
    working_set::StoredInvoice,
};
use serde::{Deserialize, de::Error as _};
use serde_json::Value;

use crate::{
    Connection, Result, WriteTx,
    statement::{Select, Upsert, filter, record},
};

record! {
    /// A row of `stripe.invoice`.
    ///
    /// Where one event gave all that is known, the columns hold it whole; else
    /// `by_claim` holds it as well.
    #[derive(diesel::Queryable)]
    struct Row in "stripe.invoice" {
        key { id: String => Text = "id", }
        account: String => Text = "account",
        claimed_booking: Option<i32> => Nullable<Integer> = "claimed_booking_id",
        booking: Option<i32> => Nullable<Integer> = "booking_id",
        status: String => Text = "status",
        total: Option<i64> => Nullable<BigInt> = "total",
        currency: Option<String> => Nullable<Text> = "currency",
        created: Option<DateTime<Utc>> => Nullable<Timestamptz> = "created",
        number: Option<String> => Nullable<Text> = "number",
        hosted_url: Option<String> => Nullable<Text> = "hosted_invoice_url",
        pdf_url: Option<String> => Nullable<Text> = "invoice_pdf",
        event_created: DateTime<Utc> => Timestamptz = "event_created",
        event_id: String => Text = "event_id",
        waiting: Option<String> => Nullable<Text> = "waiting",
        is_undecided: bool => Bool = "owner_unknown",
        by_claim: Option<Value> => Nullable<Jsonb> = "by_claim",
    }
    on update "updated_at = now()"
}

impl Row {
    fn new(changed: &ChangedInvoice<'_>) -> Self {
        let ChangedInvoice {
            id,
            by_claim,
            projection,
        } = changed;
        let (invoice, stored) = (&projection.invoice, &projection.stored);
        let order = &invoice.status.order;
        let claimed = by_claim.latest().and_then(|(claim, _)| claim.booking);
        let is_plain = by_claim.len() == 1 && invoice.is_of_one_event();
        Self {
            id: id.to_string(),
            account: stored.account.to_string(),
            claimed_booking: claimed.map(|booking| booking.0),
            booking: stored.booking.map(|booking| booking.0),
            status: invoice.status.value.as_str().to_owned(),
            total: cloned(&invoice.total),
            currency: cloned(&invoice.currency),
            created: cloned(&invoice.created).map(moment),
            number: cloned(&invoice.number),
            hosted_url: cloned(&invoice.hosted_url),
            pdf_url: cloned(&invoice.pdf_url),
            event_created: moment(order.created),
            event_id: order.event_id.clone(),
            waiting: stored.waiting.map(|waiting| waiting.as_str().to_owned()),
            is_undecided: stored.is_undecided,
            by_claim: match is_plain {
                true => None,
                false => serde_json::to_value(by_claim).ok(),
            },
        }
    }

    fn into_stored(self) -> Result<StoredInvoice> {
        let waiting = self.waiting.as_deref().map(|text| {
            WaitingFor::parse(text)
                .ok_or_else(|| serde_json::Error::custom("stripe.invoice waits for the unknown"))
        });
        let projection = StoredProjection {
            account: self.account.as_str().into(),
            booking: self.booking.map(BookingId),
            waiting: waiting.transpose()?,
            is_undecided: self.is_undecided,
        };
        Ok(StoredInvoice {
            projection: Some(projection),
            by_claim: self.into_by_claim()?,
        })
    }

    fn into_by_claim(self) -> Result<ByClaim<Invoice>> {
        if let Some(by_claim) = &self.by_claim {
            return Ok(ByClaim::deserialize(by_claim)?);
        }
        let status = Status::parse(&self.status)
            .ok_or_else(|| serde_json::Error::custom("stripe.invoice has an unknown status"))?;
        let order = EventOrder {
            rank: status.rank(),
            created: self.event_created.timestamp(),
            event_id: self.event_id,
        };
        let claim = Claim {
            account: self.account.into(),
            booking: self.claimed_booking.map(BookingId),
        };
        let invoice = Invoice {
            total: set_by(self.total, &order),
            currency: set_by(self.currency, &order),
            created: set_by(self.created.map(|at| at.timestamp()), &order),
            number: set_by(self.number, &order),
            hosted_url: set_by(self.hosted_url, &order),
            pdf_url: set_by(self.pdf_url, &order),
            status: Register {
                value: status,
                order,
            },
        };
        Ok(ByClaim::of(claim, invoice))
    }
}

fn cloned<T: Clone>(register: &Option<Register<T>>) -> Option<T> {
    register.as_ref().map(|register| register.value.clone())
}

filter! {
    ByIds { "id = ANY(" ids: &'a str => Text, } ")"
}

/// The invoices named.
pub(crate) async fn load(
    mut conn: &Connection,
    ids: &[InvoiceId],
) -> Result<BTreeMap<InvoiceId, StoredInvoice>> {
    let ids: Vec<&str> = ids.iter().map(InvoiceId::as_str).collect();
    let rows: Vec<Row> = Select::<Row, _>::records(ByIds { ids: &ids })
        .load(&mut conn)
        .await?;
    let stored = rows.into_iter().map(|row| {
        let id = InvoiceId::from(row.id.as_str());
        Ok((id, row.into_stored()?))
    });
    stored.collect()
}

/// Writes invoices, new ones and known ones.
pub(crate) async fn write(tx: &WriteTx<'_>, invoices: &[ChangedInvoice<'_>]) -> Result<()> {
    let rows: Vec<Row> = invoices.iter().map(Row::new).collect();
    Upsert::rows(tx, &rows).await
}
