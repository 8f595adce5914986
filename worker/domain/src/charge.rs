//! Charges of which something was refunded.

use serde::Deserialize;

use crate::{
    decode::{self, Expandable, MAX_ID},
    header::Header,
    ids::{AccountId, ChargeId, InvoiceId, PaymentIntentId},
    merge::{Change, EventOrder},
    rejection::Rejection,
};

/// A charge of an account. What another account's events say under the same id is another
/// charge, so that it changes nothing of this one.
pub type ChargeKey = (AccountId, ChargeId);

/// What the newest event of a charge says of its money.
///
/// A refund that fails is taken back, so `amount_refunded` does not only grow and the greatest
/// value need not be the last. Within one second, which is as exact as Stripe's times are, it is
/// far more often that two refunds were made than that one failed: there the greater amount is
/// taken for the later one, and the event's id decides only between equal amounts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refunded {
    /// The event's `created`, in Unix seconds.
    pub created: i64,
    /// `amount_refunded`, in the currency's minor units.
    pub amount_refunded: i64,
    /// The event's id.
    pub event_id: String,
    /// `amount`, in the currency's minor units, where the event says it.
    pub amount: Option<i64>,
}

/// What is known of a charge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// What the newest event says; `None` only where no event was taken.
    pub refunded: Option<Refunded>,
    /// The payment intent. It never changes; were two named, the lesser id counts, whichever
    /// came first.
    pub payment_intent: Option<PaymentIntentId>,
    /// The invoice, which versions before 2025-03-31 name. As the payment intent.
    pub invoice: Option<InvoiceId>,
}

impl Charge {
    /// Takes in what one event says.
    pub fn merge(&mut self, other: Self) -> Change {
        let change = keep_least(&mut self.payment_intent, other.payment_intent);
        let change = change.or(keep_least(&mut self.invoice, other.invoice));
        if other.refunded <= self.refunded {
            return change;
        }
        self.refunded = other.refunded;
        Change::Changed
    }

    /// How much was refunded, in the currency's minor units.
    pub fn amount_refunded(&self) -> i64 {
        let refunded = self.refunded.as_ref();
        refunded.map_or(0, |refunded| refunded.amount_refunded)
    }
}

/// Keeps the lesser of two ids of something that has one. An absent id says nothing.
pub(crate) fn keep_least<T: Ord>(register: &mut Option<T>, other: Option<T>) -> Change {
    if other.is_none() || (register.is_some() && *register <= other) {
        return Change::Unchanged;
    }
    *register = other;
    Change::Changed
}

/// What one event says of a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargeData {
    /// The charge's id.
    pub id: ChargeId,
    /// Its values.
    pub charge: Charge,
}

/// Nothing personal is read: neither billing details nor the address of the receipt.
#[derive(Deserialize)]
struct Wire {
    id: String,
    object: Option<String>,
    amount: Option<i64>,
    amount_refunded: Option<i64>,
    payment_intent: Option<Expandable>,
    invoice: Option<Expandable>,
}

/// Decodes the object of an event of type `charge.*`.
///
/// # Errors
/// A [`Rejection`] where the object cannot be read or kept.
pub fn decode(body: &[u8], header: &Header) -> Result<ChargeData, Rejection> {
    let wire = decode::data::<Wire>(body)?.object;
    decode::kind(wire.object.as_deref(), "charge")?;
    let link = |value: Option<Expandable>, field| {
        decode::optional_text(value.map(Expandable::into_id), field, MAX_ID)
    };
    let EventOrder {
        created, event_id, ..
    } = header.order(0);
    let amount_refunded = decode::amount(wire.amount_refunded);
    Ok(ChargeData {
        id: decode::id(wire.id, "charge.id")?.into(),
        charge: Charge {
            refunded: Some(Refunded {
                created,
                amount_refunded: amount_refunded.unwrap_or(0),
                event_id,
                amount: decode::amount(wire.amount),
            }),
            payment_intent: link(wire.payment_intent, "charge.payment_intent")?
                .map(PaymentIntentId::from),
            invoice: link(wire.invoice, "charge.invoice")?.map(InvoiceId::from),
        },
    })
}
