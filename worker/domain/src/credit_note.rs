//! Credit notes: what an invoice was credited with.

use event::EventType;
use serde::Deserialize;

use crate::{
    charge::keep_least,
    decode::{self, Expandable, MAX_ID},
    header::Header,
    ids::{AccountId, CreditNoteId, InvoiceId},
    merge::{Change, EventOrder},
    rejection::Rejection,
};

/// A credit note of an account. What another account's events say under the same id is another
/// note, so that it changes nothing of this one.
pub type CreditNoteKey = (AccountId, CreditNoteId);

/// What the newest event of a credit note says of its money.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Credited {
    /// The event's `created`, in Unix seconds.
    pub created: i64,
    /// The event's id.
    pub event_id: String,
    /// `total`, in the currency's minor units.
    pub amount: i64,
}

/// What is known of a credit note.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreditNote {
    /// What the newest event says; `None` only where no event was taken.
    pub credited: Option<Credited>,
    /// Whether an event says that it is void. That is never taken back.
    pub is_void: bool,
    /// The invoice. It never changes; were two named, the lesser id counts, whichever came
    /// first.
    pub invoice: Option<InvoiceId>,
}

impl CreditNote {
    /// Takes in what one event says.
    pub fn merge(&mut self, other: Self) -> Change {
        let mut change = keep_least(&mut self.invoice, other.invoice);
        if other.is_void && !self.is_void {
            self.is_void = true;
            change = Change::Changed;
        }
        if other.credited > self.credited {
            self.credited = other.credited;
            change = Change::Changed;
        }
        change
    }

    /// How much it credits, in the currency's minor units; `None` where it is void.
    pub fn amount(&self) -> Option<i64> {
        let credited = self.credited.as_ref().filter(|_| !self.is_void)?;
        Some(credited.amount)
    }
}

/// What one event says of a credit note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditNoteData {
    /// The note's id.
    pub id: CreditNoteId,
    /// Its values.
    pub note: CreditNote,
}

#[derive(Deserialize)]
struct Wire {
    id: String,
    object: Option<String>,
    status: Option<String>,
    amount: Option<i64>,
    total: Option<i64>,
    invoice: Option<Expandable>,
}

/// Decodes the object of an event of type `credit_note.*`.
///
/// # Errors
/// A [`Rejection`] where the object cannot be read or kept.
pub fn decode(
    body: &[u8],
    event_type: EventType,
    header: &Header,
) -> Result<CreditNoteData, Rejection> {
    let wire = decode::data::<Wire>(body)?.object;
    decode::kind(wire.object.as_deref(), "credit_note")?;
    let EventOrder {
        created, event_id, ..
    } = header.order(0);
    let invoice = wire.invoice.map(Expandable::into_id);
    // `amount` is the same but for discounts, and stands in for a double without a total.
    let total = decode::amount(wire.total).or(decode::amount(wire.amount));
    Ok(CreditNoteData {
        id: decode::id(wire.id, "credit_note.id")?.into(),
        note: CreditNote {
            credited: Some(Credited {
                created,
                event_id,
                amount: total.unwrap_or(0),
            }),
            // Any other status is one of a note that counts.
            is_void: event_type == EventType::CreditNoteVoided
                || wire.status.as_deref() == Some("void"),
            invoice: decode::optional_text(invoice, "credit_note.invoice", MAX_ID)?
                .map(InvoiceId::from),
        },
    })
}
