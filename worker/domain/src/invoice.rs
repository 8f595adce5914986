//! Invoices: what one event says of an invoice, and what is known of it.

use event::EventType;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    decode::{self, Expandable, MAX_ID, MAX_TEXT},
    header::Header,
    ids::{BookingId, InvoiceId},
    merge::{Change, EventOrder, Merge, Register, keep_latest, set_by, value},
    rejection::Rejection,
    rules::Rules,
    text_enum,
    text_enum::serde_as_text,
};

text_enum! {
    /// Stripe's status of an invoice, and `Deleted` for a draft that is gone.
    pub enum Status {
        /// Not finalised.
        Draft = "draft",
        /// Finalised and payable: sent, overdue, or with a failed payment.
        Open = "open",
        /// Given up, but it can still be paid.
        Uncollectible = "uncollectible",
        /// Paid, also outside Stripe or because its total is 0.
        Paid = "paid",
        /// Voided.
        Void = "void",
        /// Deleted; only drafts can be.
        Deleted = "deleted",
    }
}
serde_as_text!(Status);

impl Status {
    /// The rank within one invoice. A later rank is never taken back.
    pub fn rank(self) -> u8 {
        match self {
            Self::Draft => 0,
            Self::Open => 1,
            Self::Uncollectible => 2,
            Self::Paid | Self::Void | Self::Deleted => 3,
        }
    }
}

/// What is known of an invoice. Every value is of the greatest order that gave one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoice {
    /// The order of the newest event, without a rank; `None` in what a release before kept,
    /// where the status's counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<EventOrder>,
    /// Its status; its order is the greatest of all.
    pub status: Register<Status>,
    /// `total`, in the currency's minor units.
    pub total: Option<Register<i64>>,
    /// The currency, in Stripe's lower case.
    pub currency: Option<Register<String>>,
    /// When Stripe made the invoice, in Unix seconds.
    pub created: Option<Register<i64>>,
    /// The number that the guest sees.
    pub number: Option<Register<String>>,
    /// The page at Stripe where it can be paid.
    pub hosted_url: Option<Register<String>>,
    /// The PDF.
    pub pdf_url: Option<Register<String>>,
    /// Why it could not be finalised, as the event says that gave the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finalization_error: Option<FinalizationError>,
    /// How far its tax was calculated, as the event says that gave the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax_status: Option<String>,
}

/// Why Stripe could not finalise an invoice: codes alone, since the message can quote what a
/// person typed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalizationError {
    /// The error's type, such as `invalid_request_error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The error's code, where it has one.
    pub code: Option<String>,
}

impl Merge for Invoice {
    fn merge(&mut self, other: Self) -> Change {
        let mut change = Change::Unchanged;
        if other.latest().time() > self.latest().time() {
            self.latest = Some(other.latest().clone());
            change = Change::Changed;
        }
        if other.status.order > self.status.order {
            self.status = other.status;
            self.finalization_error = other.finalization_error;
            self.tax_status = other.tax_status;
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

    fn latest(&self) -> &EventOrder {
        self.latest.as_ref().unwrap_or(&self.status.order)
    }

    fn claims_nothing(&self) -> bool {
        false
    }

    fn is_of_one_event(&self) -> bool {
        fn is_of<T>(register: &Option<Register<T>>, order: &EventOrder) -> bool {
            register.as_ref().is_none_or(|one| one.order == *order)
        }
        let order = &self.status.order;
        self.latest().time() == order.time()
            && is_of(&self.total, order)
            && is_of(&self.currency, order)
            && is_of(&self.created, order)
            && is_of(&self.number, order)
            && is_of(&self.hosted_url, order)
            && is_of(&self.pdf_url, order)
    }
}

/// The values of an invoice, as plain columns hold them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceColumns {
    /// Its status.
    pub status: Status,
    /// `total`, in the currency's minor units.
    pub total: Option<i64>,
    /// The currency, in Stripe's lower case.
    pub currency: Option<String>,
    /// When Stripe made the invoice, in Unix seconds.
    pub created: Option<i64>,
    /// The number that the guest sees.
    pub number: Option<String>,
    /// The page at Stripe where it can be paid.
    pub hosted_url: Option<String>,
    /// The PDF.
    pub pdf_url: Option<String>,
    /// Why it could not be finalised.
    pub finalization_error: Option<FinalizationError>,
    /// How far its tax was calculated.
    pub tax_status: Option<String>,
    /// The `created` of the event that gave the status, in Unix seconds.
    pub event_created: i64,
    /// The event that gave the status.
    pub event_id: String,
}

impl Invoice {
    /// The values as plain columns.
    pub fn columns(&self) -> InvoiceColumns {
        InvoiceColumns {
            status: self.status.value,
            total: value(&self.total).copied(),
            currency: value(&self.currency).cloned(),
            created: value(&self.created).copied(),
            number: value(&self.number).cloned(),
            hosted_url: value(&self.hosted_url).cloned(),
            pdf_url: value(&self.pdf_url).cloned(),
            finalization_error: self.finalization_error.clone(),
            tax_status: self.tax_status.clone(),
            event_created: self.status.order.created,
            event_id: self.status.order.event_id.clone(),
        }
    }

    /// The invoice whose columns these are, where one event gave them all.
    pub fn of_one_event(columns: InvoiceColumns) -> Self {
        let order = EventOrder {
            rank: columns.status.rank(),
            created: columns.event_created,
            event_id: columns.event_id,
        };
        Self {
            latest: Some(EventOrder {
                rank: 0,
                ..order.clone()
            }),
            total: set_by(columns.total, &order),
            currency: set_by(columns.currency, &order),
            created: set_by(columns.created, &order),
            number: set_by(columns.number, &order),
            hosted_url: set_by(columns.hosted_url, &order),
            pdf_url: set_by(columns.pdf_url, &order),
            finalization_error: columns.finalization_error,
            tax_status: columns.tax_status,
            status: Register {
                value: columns.status,
                order,
            },
        }
    }
}

/// What one event says of an invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceData {
    /// The invoice's id.
    pub id: InvoiceId,
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
    last_finalization_error: Option<WireError>,
    automatic_tax: Option<WireTax>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    application: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireError {
    #[serde(rename = "type")]
    kind: Option<String>,
    code: Option<String>,
}

#[derive(Deserialize)]
struct WireTax {
    status: Option<String>,
}

/// Decodes the object of an event of type `invoice.*`.
///
/// # Errors
/// A [`Rejection`] where the object cannot be read or kept.
pub fn decode(
    body: &[u8],
    event_type: EventType,
    header: &Header,
    rules: &Rules,
) -> Result<InvoiceData, Rejection> {
    let wire = decode::data::<Wire<'_>>(body)?.object;
    decode::kind(wire.object.as_deref(), "invoice")?;
    let status = status(event_type, wire.status.as_deref())?;
    let order = header.order(status.rank());
    let created = wire.created.map(|at| decode::time(at, "invoice.created"));
    let text = |value, field, limit| {
        decode::optional_text(value, field, limit).map(|value| set_by(value, &order))
    };
    Ok(InvoiceData {
        id: decode::id(wire.id, "invoice.id")?.into(),
        booking: match is_ours(wire.application, header, rules) {
            true => decode::booking(wire.metadata, &rules.booking_key)?,
            false => None,
        },
        invoice: Invoice {
            latest: Some(header.order(0)),
            total: set_by(wire.total, &order),
            currency: text(wire.currency, "invoice.currency", MAX_ID)?,
            created: set_by(created.transpose()?, &order),
            number: text(wire.number, "invoice.number", MAX_ID)?,
            hosted_url: text(
                wire.hosted_invoice_url,
                "invoice.hosted_invoice_url",
                MAX_TEXT,
            )?,
            pdf_url: text(wire.invoice_pdf, "invoice.invoice_pdf", MAX_TEXT)?,
            finalization_error: finalization_error(status, wire.last_finalization_error),
            tax_status: decode::code(wire.automatic_tax.and_then(|tax| tax.status)),
            status: Register {
                value: status,
                order,
            },
        },
    })
}

/// The error of a draft. One that is finalised has none any more, whatever an older API version
/// still shows.
fn finalization_error(status: Status, error: Option<WireError>) -> Option<FinalizationError> {
    let error = error.filter(|_| status == Status::Draft)?;
    Some(FinalizationError {
        kind: decode::code(error.kind).unwrap_or_else(|| "unknown".into()),
        code: decode::code(error.code),
    })
}

/// Whether the platform made the invoice, as far as the deployment wants that checked: an
/// invoice of a connected account that another application made, or none, names no booking
/// of ours, whatever stands in its metadata.
fn is_ours(application: Option<&RawValue>, header: &Header, rules: &Rules) -> bool {
    let (Some(ours), Some(_)) = (&rules.application, &header.account) else {
        return true;
    };
    let made_by = application.and_then(|raw| serde_json::from_str::<Expandable>(raw.get()).ok());
    made_by.is_some_and(|made_by| made_by.into_id() == *ours)
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
