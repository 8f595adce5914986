//! Invoices: what an event says of one, and how such sayings are joined.

use event::EventType;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    claim::{BookingId, Join},
    fields::{self, MAX_ID, MAX_TEXT},
    rejection::Rejection,
    version::{Change, Register, Slot, Version, keep_latest, said},
};

/// Stripe's status of an invoice, and `Deleted` for a draft that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not finalised.
    Draft,
    /// Finalised and payable: sent, overdue, or with a failed payment.
    Open,
    /// Given up, but it can still be paid.
    Uncollectible,
    /// Paid, also outside Stripe or because its total is 0.
    Paid,
    /// Voided.
    Void,
    /// Deleted; only drafts can be.
    Deleted,
}

impl Status {
    /// The place in the order of merit. A later rank is never taken back.
    pub fn rank(self) -> u8 {
        match self {
            Self::Draft => 0,
            Self::Open => 1,
            Self::Uncollectible => 2,
            Self::Paid | Self::Void | Self::Deleted => 3,
        }
    }

    /// The merit among the invoices of one booking; `None` for one that is no
    /// longer its invoice.
    pub fn merit(self) -> Option<u8> {
        match self {
            Self::Draft => Some(0),
            Self::Open | Self::Uncollectible => Some(1),
            Self::Paid => Some(2),
            Self::Void | Self::Deleted => None,
        }
    }

    /// The value of the main app's enum `"InvoiceStatus"`; `None` for an
    /// invoice that the main app does not see.
    pub fn shown_as(self) -> Option<&'static str> {
        match self {
            Self::Draft => Some("DRAFT"),
            Self::Open | Self::Uncollectible => Some("SENT"),
            Self::Paid => Some("PAID"),
            Self::Void | Self::Deleted => None,
        }
    }

    /// As Stripe writes it, and as `stripe.invoice` keeps it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Open => "open",
            Self::Uncollectible => "uncollectible",
            Self::Paid => "paid",
            Self::Void => "void",
            Self::Deleted => "deleted",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Draft,
            Self::Open,
            Self::Uncollectible,
            Self::Paid,
            Self::Void,
            Self::Deleted,
        ]
        .into_iter()
        .find(|status| status.as_str() == text)
    }
}

/// What is known of an invoice. Every value is of the greatest version that
/// gave one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoice {
    /// Its status; its version is the greatest of all.
    pub status: Register<Status>,
    /// `total`, in the currency's minor units.
    pub total: Slot<i64>,
    /// The currency, in Stripe's lower case.
    pub currency: Slot<String>,
    /// When Stripe made the invoice, in Unix seconds.
    pub created: Slot<i64>,
    /// The number that the guest sees.
    pub number: Slot<String>,
    /// The page at Stripe where it can be paid.
    pub hosted_url: Slot<String>,
    /// The PDF.
    pub pdf_url: Slot<String>,
}

impl Join for Invoice {
    fn join(&mut self, other: Self) -> Change {
        let mut change = Change::Unchanged;
        if other.status.version > self.status.version {
            self.status = other.status;
            change = Change::Changed;
        }
        change
            .or(keep_latest(&mut self.total, other.total))
            .or(keep_latest(&mut self.currency, other.currency))
            .or(keep_latest(&mut self.created, other.created))
            .or(keep_latest(&mut self.number, other.number))
            .or(keep_latest(&mut self.hosted_url, other.hosted_url))
            .or(keep_latest(&mut self.pdf_url, other.pdf_url))
    }

    fn version(&self) -> &Version {
        &self.status.version
    }
}

impl Invoice {
    /// Whether all that is known was said by the event of the status, so that
    /// plain columns show it whole.
    pub fn is_of_one_event(&self) -> bool {
        fn of<T>(slot: &Slot<T>, version: &Version) -> bool {
            slot.as_ref().is_none_or(|said| said.version == *version)
        }
        let version = &self.status.version;
        of(&self.total, version)
            && of(&self.currency, version)
            && of(&self.created, version)
            && of(&self.number, version)
            && of(&self.hosted_url, version)
            && of(&self.pdf_url, version)
    }
}

/// What one event says of an invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceFact {
    /// The invoice's id.
    pub id: String,
    /// The booking that its metadata names.
    pub booking: Option<BookingId>,
    /// Its values.
    pub invoice: Invoice,
}

#[derive(Deserialize)]
struct Wire<'a> {
    id: String,
    object: Option<String>,
    status: Option<String>,
    total: Option<i64>,
    currency: Option<String>,
    created: Option<i64>,
    number: Option<String>,
    hosted_invoice_url: Option<String>,
    invoice_pdf: Option<String>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

/// Reads what an event of type `invoice.*` says.
///
/// # Errors
/// A [`Rejection`] where the object cannot be read or kept.
pub fn read(
    body: &[u8],
    event_type: EventType,
    event_id: &str,
    created: i64,
    booking_key: &str,
) -> Result<InvoiceFact, Rejection> {
    let wire = fields::data::<Wire<'_>>(body)?.object;
    fields::kind(wire.object.as_deref(), "invoice")?;
    let status = status(event_type, wire.status.as_deref())?;
    let version = Version {
        rank: status.rank(),
        created,
        event_id: event_id.to_owned(),
    };
    let made = wire.created.map(|at| fields::time(at, "invoice.created"));
    let text = |value, field, limit| {
        fields::optional_text(value, field, limit).map(|value| said(value, &version))
    };
    Ok(InvoiceFact {
        id: fields::id(wire.id, "invoice.id")?,
        booking: fields::booking(wire.metadata, booking_key)?,
        invoice: Invoice {
            total: said(wire.total, &version),
            currency: text(wire.currency, "invoice.currency", MAX_ID)?,
            created: said(made.transpose()?, &version),
            number: text(wire.number, "invoice.number", MAX_ID)?,
            hosted_url: text(
                wire.hosted_invoice_url,
                "invoice.hosted_invoice_url",
                MAX_TEXT,
            )?,
            pdf_url: text(wire.invoice_pdf, "invoice.invoice_pdf", MAX_TEXT)?,
            status: Register {
                value: status,
                version,
            },
        },
    })
}

/// The object's status; a deleted draft still says `draft`. Null is a draft.
fn status(event_type: EventType, status: Option<&str>) -> Result<Status, Rejection> {
    if event_type == EventType::InvoiceDeleted {
        return Ok(Status::Deleted);
    }
    match status {
        None => Ok(Status::Draft),
        Some(status) => Status::parse(status).ok_or(Rejection::UnknownStatus {
            field: "invoice.status",
        }),
    }
}
