//! Checkout Sessions: the link between a booking and its invoice.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    claim::{BookingId, Join},
    fields::{self, Expandable, MAX_ID},
    rejection::Rejection,
    version::{Change, Slot, Version, keep_first, keep_latest, said},
};

/// What is known of a Checkout Session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The latest event taken in, without a rank.
    pub latest: Version,
    /// `unpaid`, `paid` or `no_payment_required`; it never goes back to `unpaid`.
    pub payment_status: Slot<String>,
    /// `open`, `complete` or `expired`; it never goes back to `open`.
    pub status: Slot<String>,
    /// The invoice; the first one named stays.
    pub invoice: Slot<String>,
    /// The payment intent; the first one named stays.
    pub payment_intent: Slot<String>,
}

impl Join for Session {
    fn join(&mut self, other: Self) -> Change {
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
    }

    fn version(&self) -> &Version {
        &self.latest
    }
}

impl Session {
    /// Whether all that is known was said by the latest event, so that plain
    /// columns show it whole.
    pub fn is_of_one_event(&self) -> bool {
        [
            &self.payment_status,
            &self.status,
            &self.invoice,
            &self.payment_intent,
        ]
        .into_iter()
        .flatten()
        .all(|said| {
            said.version.created == self.latest.created
                && said.version.event_id == self.latest.event_id
        })
    }
}

/// The rank of a payment status: an unpaid session can be paid, not the other
/// way round.
pub fn payment_rank(payment_status: &str) -> Option<u8> {
    match payment_status {
        "unpaid" => Some(0),
        "paid" | "no_payment_required" => Some(1),
        _ => None,
    }
}

/// The rank of a status: an open session ends, not the other way round.
pub fn status_rank(status: &str) -> Option<u8> {
    match status {
        "open" => Some(0),
        "complete" | "expired" => Some(1),
        _ => None,
    }
}

/// What one event says of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFact {
    /// The session's id.
    pub id: String,
    /// The booking that its metadata or its `client_reference_id` names.
    pub booking: Option<BookingId>,
    /// Its values.
    pub session: Session,
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

/// Reads what an event of type `checkout.session.*` says.
///
/// # Errors
/// A [`Rejection`] where the object cannot be read or kept.
pub fn read(
    body: &[u8],
    event_id: &str,
    created: i64,
    booking_key: &str,
) -> Result<SessionFact, Rejection> {
    let wire = fields::data::<Wire<'_>>(body)?.object;
    fields::kind(wire.object.as_deref(), "checkout.session")?;
    let version = |rank| Version {
        rank,
        created,
        event_id: event_id.to_owned(),
    };
    let link = |value: Option<Expandable>, field| {
        fields::optional_text(value.map(Expandable::into_id), field, MAX_ID)
            .map(|value| said(value, &version(0)))
    };
    let ranked = |value: Option<String>, rank: fn(&str) -> Option<u8>, field| match value {
        None => Ok(None),
        Some(value) => match rank(&value) {
            Some(rank) => Ok(said(Some(value), &version(rank))),
            None => Err(Rejection::UnknownStatus { field }),
        },
    };
    Ok(SessionFact {
        booking: booking(wire.metadata, booking_key, wire.client_reference_id)?,
        id: fields::id(wire.id, "session.id")?,
        session: Session {
            latest: version(0),
            payment_status: ranked(wire.payment_status, payment_rank, "session.payment_status")?,
            status: ranked(wire.status, status_rank, "session.status")?,
            invoice: link(wire.invoice, "session.invoice")?,
            payment_intent: link(wire.payment_intent, "session.payment_intent")?,
        },
    })
}

/// The metadata speaks first. A `client_reference_id` that is no booking's id
/// is another shop's reference, not an error: Standard hosts have other
/// sessions as well.
fn booking(
    metadata: Option<&RawValue>,
    key: &str,
    client_reference_id: Option<String>,
) -> Result<Option<BookingId>, Rejection> {
    match fields::booking(metadata, key)? {
        Some(booking) => Ok(Some(booking)),
        None => Ok(client_reference_id.and_then(|text| fields::booking_id(&text).ok())),
    }
}
