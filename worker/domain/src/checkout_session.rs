//! Checkout Sessions: the link between a booking and its invoice.

use ::event::EventType;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    decode::{self, Expandable, MAX_ID},
    header::Header,
    ids::{BookingId, CheckoutSessionId, InvoiceId, PaymentIntentId},
    merge::{Change, EventOrder, Merge, Register, keep_first, keep_latest, set_by, value},
    rejection::Rejection,
    rules::Rules,
    text_enum,
    text_enum::serde_as_text,
};

text_enum! {
    /// Whether a session was paid; it never goes back to `unpaid`.
    pub enum PaymentStatus {
        /// Not paid yet.
        Unpaid = "unpaid",
        /// Paid.
        Paid = "paid",
        /// Nothing had to be paid.
        NoPaymentRequired = "no_payment_required",
    }
}
serde_as_text!(PaymentStatus);

impl PaymentStatus {
    /// The rank: an unpaid session can be paid, not the other way round.
    pub fn rank(self) -> u8 {
        match self {
            Self::Unpaid => 0,
            Self::Paid | Self::NoPaymentRequired => 1,
        }
    }
}

text_enum! {
    /// How far a session is; it never goes back to `open`.
    pub enum Status {
        /// The guest can still pay.
        Open = "open",
        /// The guest went through it.
        Complete = "complete",
        /// Its time ran out.
        Expired = "expired",
        /// The guest went through it, and the money did not come. Stripe calls it complete.
        PaymentFailed = "payment_failed",
    }
}
serde_as_text!(Status);

impl Status {
    /// The rank: an open session ends, and the money of a complete one may fail to come, not the
    /// other way round.
    pub fn rank(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Complete | Self::Expired => 1,
            Self::PaymentFailed => 2,
        }
    }
}

/// The latest `created` of what commands tell of a session, in Unix seconds. Stripe's events are
/// from 2011 on.
pub const LAST_TOLD: i64 = 1_000_000;
/// How the id of an event begins that tells of a session which a command made. Those of Stripe's
/// events begin otherwise.
pub const TOLD_ID: &str = "told_";

/// Whether the event tells of a session which a command made.
pub fn is_told(event: &EventOrder) -> bool {
    (1..=LAST_TOLD).contains(&event.created) && event.event_id.starts_with(TOLD_ID)
}

/// What is known of a Checkout Session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckoutSession {
    /// The order of the latest event, without a rank.
    pub latest: EventOrder,
    /// Whether it was paid.
    pub payment_status: Option<Register<PaymentStatus>>,
    /// How far it is.
    pub status: Option<Register<Status>>,
    /// The invoice; the first one named stays.
    pub invoice: Option<Register<InvoiceId>>,
    /// The payment intent; the first one named stays.
    pub payment_intent: Option<Register<PaymentIntentId>>,
    /// Whether a command made the session and told of it. Whose it is stands in the command's
    /// record then, whatever the host writes into the session's metadata.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_told: bool,
}

impl Merge for CheckoutSession {
    fn merge(&mut self, other: Self) -> Change {
        let mut change = Change::Unchanged;
        if other.latest > self.latest {
            self.latest = other.latest;
            change = Change::Changed;
        }
        change
            .or(keep_latest(&mut self.payment_status, other.payment_status))
            .or(keep_latest(&mut self.status, other.status))
            .or(keep_first(&mut self.invoice, other.invoice))
            .or(keep_first(&mut self.payment_intent, other.payment_intent))
            .or(self.keep_told(other.is_told))
    }

    fn latest(&self) -> &EventOrder {
        &self.latest
    }

    /// Nobody will pay any more through a session that expired unpaid, or whose payment failed.
    fn claims_nothing(&self) -> bool {
        let is_unpaid = value(&self.payment_status).is_none_or(|status| status.rank() == 0);
        let is_over = matches!(
            value(&self.status),
            Some(Status::Expired | Status::PaymentFailed)
        );
        is_over && is_unpaid
    }

    fn is_of_one_event(&self) -> bool {
        let orders = [
            self.payment_status.as_ref().map(|one| &one.order),
            self.status.as_ref().map(|one| &one.order),
            self.invoice.as_ref().map(|one| &one.order),
            self.payment_intent.as_ref().map(|one| &one.order),
        ];
        // Their ranks differ.
        let is_latest = |order: &EventOrder| {
            (order.created, &order.event_id) == (self.latest.created, &self.latest.event_id)
        };
        // Plain columns say by the event's id whether it was told.
        self.is_told == is_told(&self.latest) && orders.into_iter().flatten().all(is_latest)
    }

    fn proves_its_claim(&self) -> bool {
        self.is_told
    }
}

impl CheckoutSession {
    fn keep_told(&mut self, is_told: bool) -> Change {
        match is_told && !self.is_told {
            true => {
                self.is_told = true;
                Change::Changed
            }
            false => Change::Unchanged,
        }
    }
}

/// What one event says of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckoutSessionData {
    /// The session's id.
    pub id: CheckoutSessionId,
    /// The booking that it names.
    pub booking: Option<BookingId>,
    /// Its values.
    pub session: CheckoutSession,
}

#[derive(Deserialize)]
struct Wire<'a> {
    id: String,
    object: Option<String>,
    payment_status: Option<String>,
    status: Option<String>,
    invoice: Option<Expandable>,
    payment_intent: Option<Expandable>,
    client_reference_id: Option<String>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

/// Decodes the object of an event of type `checkout.session.*`.
///
/// # Errors
/// A [`Rejection`] where the object cannot be read or kept.
pub fn decode(
    body: &[u8],
    event_type: EventType,
    header: &Header,
    rules: &Rules,
) -> Result<CheckoutSessionData, Rejection> {
    let wire = decode::data::<Wire<'_>>(body)?.object;
    decode::kind(wire.object.as_deref(), "checkout.session")?;
    let latest = header.order(0);
    let link = |value: Option<Expandable>, field| {
        decode::optional_text(value.map(Expandable::into_id), field, MAX_ID)
    };
    // A value that this release does not know says nothing of the two.
    let payment_status = wire
        .payment_status
        .as_deref()
        .and_then(PaymentStatus::parse);
    let status = match event_type == EventType::CheckoutSessionAsyncPaymentFailed {
        true => Some(Status::PaymentFailed),
        false => wire.status.as_deref().and_then(Status::parse),
    };
    let invoice = link(wire.invoice, "session.invoice")?.map(InvoiceId::from);
    let payment_intent =
        link(wire.payment_intent, "session.payment_intent")?.map(PaymentIntentId::from);
    Ok(CheckoutSessionData {
        booking: booking(wire.metadata, rules, wire.client_reference_id)?,
        id: decode::id(wire.id, "session.id")?.into(),
        session: CheckoutSession {
            payment_status: payment_status
                .and_then(|status| set_by(Some(status), &header.order(status.rank()))),
            status: status.and_then(|status| set_by(Some(status), &header.order(status.rank()))),
            invoice: set_by(invoice, &latest),
            payment_intent: set_by(payment_intent, &latest),
            is_told: event_type == EventType::CheckoutSessionTold && is_told(&latest),
            latest,
        },
    })
}

/// The metadata speaks first, and `client_reference_id` only where the deployment lets it.
/// One that is no booking's id is another shop's reference, not an error: Standard hosts
/// have other sessions as well.
fn booking(
    metadata: Option<&RawValue>,
    rules: &Rules,
    client_reference_id: Option<String>,
) -> Result<Option<BookingId>, Rejection> {
    match decode::booking(metadata, &rules.booking_key)? {
        None if rules.client_reference => {
            Ok(client_reference_id.and_then(|text| decode::booking_id(&text).ok()))
        }
        booking => Ok(booking),
    }
}
