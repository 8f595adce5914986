//! `stripe.invoice`: every invoice ever seen.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Bool, Integer, Jsonb, Nullable, Text, Timestamptz};
use domain::{
    by_claim::ByClaim,
    changes::ChangedInvoice,
    decode::moment,
    given_back::GivenBack,
    ids::{BookingId, InvoiceId},
    invoice::{FinalizationError, Invoice, InvoiceColumns, Status},
    ownership::Claim,
    rows::{StoredProjection, WaitingFor},
    source::StoredInvoice,
};
use serde::{Deserialize, de::Error as _};
use serde_json::Value;

use crate::{
    Connection, Result, WriteTx,
    record::{Upsert, by_ids, record},
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
        amount_refunded: i64 => BigInt = "amount_refunded",
        amount_credited: i64 => BigInt = "amount_credited",
        finalization_error: Option<String> => Nullable<Text> = "finalization_error_type",
        finalization_error_code: Option<String> => Nullable<Text> = "finalization_error_code",
        tax_status: Option<String> => Nullable<Text> = "automatic_tax_status",
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
        let stored = &projection.stored;
        let columns = stored.columns.clone();
        let claimed = by_claim.latest().and_then(|(claim, _)| claim.booking);
        let is_plain = by_claim.is_of_one_event();
        let (kind, code) = columns
            .finalization_error
            .map_or((None, None), |error| (Some(error.kind), error.code));
        Self {
            id: id.to_string(),
            account: stored.account.to_string(),
            claimed_booking: claimed.map(|booking| booking.0),
            booking: stored.booking.map(|booking| booking.0),
            status: columns.status.as_str().to_owned(),
            total: columns.total,
            currency: columns.currency,
            created: columns.created.map(moment),
            number: columns.number,
            hosted_url: columns.hosted_url,
            pdf_url: columns.pdf_url,
            event_created: moment(columns.event_created),
            event_id: columns.event_id,
            waiting: stored.waiting.map(|waiting| waiting.as_str().to_owned()),
            is_undecided: stored.is_undecided,
            by_claim: match is_plain {
                true => None,
                false => serde_json::to_value(by_claim).ok(),
            },
            amount_refunded: stored.given_back.refunded,
            amount_credited: stored.given_back.credited,
            finalization_error: kind,
            finalization_error_code: code,
            tax_status: columns.tax_status,
        }
    }

    fn into_stored(self) -> Result<StoredInvoice> {
        let waiting = self.waiting.as_deref().map(|text| {
            WaitingFor::parse(text)
                .ok_or_else(|| serde_json::Error::custom("stripe.invoice waits for the unknown"))
        });
        let status = Status::parse(&self.status)
            .ok_or_else(|| serde_json::Error::custom("stripe.invoice has an unknown status"))?;
        let code = self.finalization_error_code;
        let projection = StoredProjection {
            account: self.account.into(),
            booking: self.booking.map(BookingId),
            waiting: waiting.transpose()?,
            is_undecided: self.is_undecided,
            columns: InvoiceColumns {
                status,
                total: self.total,
                currency: self.currency,
                created: self.created.map(|at| at.timestamp()),
                number: self.number,
                hosted_url: self.hosted_url,
                pdf_url: self.pdf_url,
                finalization_error: self
                    .finalization_error
                    .map(|kind| FinalizationError { kind, code }),
                tax_status: self.tax_status,
                event_created: self.event_created.timestamp(),
                event_id: self.event_id,
            },
            given_back: GivenBack {
                refunded: self.amount_refunded,
                credited: self.amount_credited,
            },
        };
        let by_claim = match &self.by_claim {
            Some(by_claim) => ByClaim::deserialize(by_claim)?,
            None => {
                let claim = Claim {
                    account: projection.account.clone(),
                    booking: self.claimed_booking.map(BookingId),
                };
                ByClaim::of(claim, Invoice::of_one_event(projection.columns.clone()))
            }
        };
        Ok(StoredInvoice {
            by_claim,
            projection: Some(projection),
        })
    }
}

by_ids!(Row);

/// The invoices named.
pub(crate) async fn load(
    conn: &Connection,
    ids: &[InvoiceId],
) -> Result<BTreeMap<InvoiceId, StoredInvoice>> {
    let ids: Vec<&str> = ids.iter().map(InvoiceId::as_str).collect();
    let rows: Vec<Row> = by_ids(conn, &ids).await?;
    let stored = rows.into_iter().map(|row| {
        let id = InvoiceId::from(row.id.as_str());
        Ok((id, row.into_stored()?))
    });
    stored.collect()
}

/// Writes invoices, new ones and known ones.
pub(crate) async fn write(tx: &WriteTx<'_>, invoices: &[ChangedInvoice<'_>]) -> Result<()> {
    let rows: Vec<Row> = invoices.iter().map(Row::new).collect();
    Upsert::rows(tx, &rows).await?;
    Ok(())
}
