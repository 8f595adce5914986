//! `stripe.checkout_session`: every Checkout Session ever seen.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::sql_types::{Bool, Integer, Jsonb, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use domain::{
    by_claim::ByClaim,
    changes::ChangedCheckoutSession,
    checkout_session::{CheckoutSession, PaymentStatus, Status, is_told},
    decode::moment,
    ids::{BookingId, CheckoutSessionId, InvoiceId, PaymentIntentId},
    merge::{EventOrder, set_by, value},
    ownership::Claim,
    source::StoredCheckoutSession,
};
use serde::{Deserialize, de::Error as _};
use serde_json::Value;

use crate::{
    Connection, Result, WriteTx,
    record::{Select, Upsert, filter, record},
};

record! {
    /// A row of `stripe.checkout_session`.
    ///
    /// Where one event gave all that is known, the columns hold it whole; else
    /// `by_claim` holds it as well.
    #[derive(diesel::Queryable)]
    struct Row in "stripe.checkout_session" {
        key { id: String => Text = "id", }
        account: String => Text = "account",
        claimed_booking: Option<i32> => Nullable<Integer> = "claimed_booking_id",
        payment_status: Option<String> => Nullable<Text> = "payment_status",
        status: Option<String> => Nullable<Text> = "status",
        invoice: Option<String> => Nullable<Text> = "invoice_id",
        payment_intent: Option<String> => Nullable<Text> = "payment_intent_id",
        event_created: DateTime<Utc> => Timestamptz = "event_created",
        event_id: String => Text = "event_id",
        is_undecided: bool => Bool = "owner_unknown",
        by_claim: Option<Value> => Nullable<Jsonb> = "by_claim",
    }
    on update "updated_at = now()"
}

impl Row {
    /// The row of a session: all its parts merged, since whose booking it is of matters
    /// to its invoice only. `None` where no event was taken.
    fn new(changed: &ChangedCheckoutSession<'_>) -> Option<Self> {
        let by_claim = changed.by_claim;
        let (claim, _) = by_claim.latest()?;
        let whole = by_claim.whole()?;
        let is_plain = by_claim.is_of_one_event();
        let status = value(&whole.status).map(|status| status.as_str().to_owned());
        let payment_status = value(&whole.payment_status);
        Some(Self {
            id: changed.id.to_string(),
            account: claim.account.to_string(),
            claimed_booking: claim.booking.map(|booking| booking.0),
            payment_status: payment_status.map(|status| status.as_str().to_owned()),
            status,
            invoice: value(&whole.invoice).map(ToString::to_string),
            payment_intent: value(&whole.payment_intent).map(ToString::to_string),
            event_created: moment(whole.latest.created),
            event_id: whole.latest.event_id,
            is_undecided: changed.is_undecided,
            by_claim: match is_plain {
                true => None,
                false => serde_json::to_value(by_claim).ok(),
            },
        })
    }

    fn into_stored(self) -> Result<StoredCheckoutSession> {
        Ok(StoredCheckoutSession {
            is_undecided: self.is_undecided,
            by_claim: self.into_by_claim()?,
        })
    }

    fn into_by_claim(self) -> Result<ByClaim<CheckoutSession>> {
        if let Some(by_claim) = &self.by_claim {
            return Ok(ByClaim::deserialize(by_claim)?);
        }
        let unknown = || serde_json::Error::custom("stripe.checkout_session has an unknown status");
        let order = |rank| EventOrder {
            rank,
            created: self.event_created.timestamp(),
            event_id: self.event_id.clone(),
        };
        let payment_status = self.payment_status.as_deref();
        let payment_status =
            payment_status.map(|text| PaymentStatus::parse(text).ok_or_else(unknown));
        let payment_status = payment_status.transpose()?;
        let status = self.status.as_deref();
        let status = status.map(|text| Status::parse(text).ok_or_else(unknown));
        let status = status.transpose()?;
        let session = CheckoutSession {
            latest: order(0),
            payment_status: payment_status
                .and_then(|status| set_by(Some(status), &order(status.rank()))),
            status: status.and_then(|status| set_by(Some(status), &order(status.rank()))),
            invoice: set_by(self.invoice.map(InvoiceId::from), &order(0)),
            payment_intent: set_by(self.payment_intent.map(PaymentIntentId::from), &order(0)),
            is_told: is_told(&order(0)),
        };
        let claim = Claim {
            account: self.account.into(),
            booking: self.claimed_booking.map(BookingId),
        };
        Ok(ByClaim::of(claim, session))
    }
}

filter! {
    ByIdsOrInvoices {
        "id = ANY(" ids: &'a str => Text,
        ") OR invoice_id = ANY(" invoices: &'a str => Text,
    } ")"
}

filter! {
    ByPaymentIntents { "payment_intent_id = ANY(" intents: &'a str => Text, } ")"
}

type Sessions = BTreeMap<CheckoutSessionId, StoredCheckoutSession>;

/// The sessions named, and those that name the invoices.
pub(crate) async fn load(
    mut conn: &Connection,
    ids: &[CheckoutSessionId],
    invoices: &[InvoiceId],
) -> Result<Sessions> {
    if ids.is_empty() && invoices.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<&str> = ids.iter().map(CheckoutSessionId::as_str).collect();
    let invoices: Vec<&str> = invoices.iter().map(InvoiceId::as_str).collect();
    let filter = ByIdsOrInvoices {
        ids: &ids,
        invoices: &invoices,
    };
    let rows: Vec<Row> = Select::<Row, _>::records(filter).load(&mut conn).await?;
    sessions(rows)
}

/// The sessions that name the payment intents. A statement of its own: only refunds need it.
pub(crate) async fn of_payment_intents(
    mut conn: &Connection,
    intents: &[PaymentIntentId],
) -> Result<Sessions> {
    if intents.is_empty() {
        return Ok(BTreeMap::new());
    }
    let intents: Vec<&str> = intents.iter().map(PaymentIntentId::as_str).collect();
    let filter = ByPaymentIntents { intents: &intents };
    let rows: Vec<Row> = Select::<Row, _>::records(filter).load(&mut conn).await?;
    sessions(rows)
}

fn sessions(rows: Vec<Row>) -> Result<Sessions> {
    let stored = rows.into_iter().map(|row| {
        let id = CheckoutSessionId::from(row.id.as_str());
        Ok((id, row.into_stored()?))
    });
    stored.collect()
}

/// Writes sessions, new ones and known ones.
pub(crate) async fn write(tx: &WriteTx<'_>, sessions: &[ChangedCheckoutSession<'_>]) -> Result<()> {
    let rows: Vec<Row> = sessions.iter().filter_map(Row::new).collect();
    Upsert::rows(tx, &rows).await?;
    Ok(())
}
