//! One event, decoded from its bytes.

use event::{Envelope, EventType, ObjectType};

use crate::{
    account::{self, AccountData},
    charge::{self, ChargeData},
    checkout_session::{self, CheckoutSessionData},
    credit_note::{self, CreditNoteData},
    decode,
    header::Header,
    ids::{AccountId, ObjectId},
    invoice::{self, InvoiceData},
    merge::UNKNOWN_TIME,
    ownership::Claim,
    rejection::Rejection,
    rules::Rules,
};

/// An event that was decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its fields outside `data`.
    pub header: Header,
    /// What it says of its object.
    pub data: EventData,
}

/// What an event says of its object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "most events are of invoices, and are not to cost an allocation more"
)]
pub enum EventData {
    /// `invoice.*`
    Invoice(Box<InvoiceData>),
    /// `checkout.session.*`
    CheckoutSession(CheckoutSessionData),
    /// `account.*`
    Account(AccountData),
    /// `charge.*`
    Charge(ChargeData),
    /// `credit_note.*`
    CreditNote(CreditNoteData),
    /// The event is not for this deployment.
    Ignored(IgnoreReason),
}

/// Why an event is not for this deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IgnoreReason {
    /// It is of the other mode.
    OtherMode,
    /// The worker does not handle its type.
    UnhandledType,
}

impl IgnoreReason {
    /// The reason, as the ledger keeps it.
    pub fn code(self) -> &'static str {
        match self {
            Self::OtherMode => "other_mode",
            Self::UnhandledType => "unhandled_type",
        }
    }
}

/// An event that cannot be applied, with as much of it as could be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its fields outside `data`, where they could be decoded.
    pub header: Option<Box<Header>>,
    /// Why it cannot be applied.
    pub rejection: Rejection,
}

/// Decodes one event from its bytes.
///
/// # Errors
/// [`Rejected`] where the bytes are no event, or hold what Postgres cannot keep.
pub fn decode(body: &[u8], rules: &Rules) -> Result<Event, Rejected> {
    let header = header(body).map_err(|rejection| Rejected {
        header: None,
        rejection,
    })?;
    match data(body, &header, rules) {
        Ok(data) => Ok(Event { header, data }),
        Err(rejection) => Err(Rejected {
            header: Some(Box::new(header)),
            rejection,
        }),
    }
}

/// Decodes the fields outside `data` alone.
///
/// # Errors
/// The bytes are no event, or a field holds what Postgres cannot keep.
pub fn header(body: &[u8]) -> Result<Header, Rejection> {
    let envelope = Envelope::read(body).map_err(|error| Rejection::UnreadableEvent {
        why: error.to_string(),
    })?;
    let created = created(&envelope);
    let optional = |value: Option<std::borrow::Cow<'_, str>>, field| {
        decode::optional_text(value.map(Into::into), field, decode::MAX_ID)
    };
    Ok(Header {
        id: decode::text(envelope.id.into(), "id", decode::MAX_ID)?,
        event_type: decode::text(envelope.event_type.into(), "type", decode::MAX_ID)?,
        account: optional(envelope.account, "account")?.map(AccountId::from),
        created: decode::time(created, "created")?,
        api_version: optional(envelope.api_version, "api_version")?,
        livemode: envelope.livemode,
    })
}

/// When it happened, in Unix seconds.
fn created(envelope: &Envelope<'_>) -> i64 {
    // What commands told of sessions was at 1 in every attempt once. It is to be later than what
    // they tell of any attempt now.
    let is_told = envelope.event_type == EventType::CheckoutSessionTold.as_str();
    match envelope.created {
        Some(1) if is_told => checkout_session::LAST_TOLD,
        created => created.unwrap_or(UNKNOWN_TIME),
    }
}

fn data(body: &[u8], header: &Header, rules: &Rules) -> Result<EventData, Rejection> {
    if !rules.mode.accepts(header.livemode) {
        return Ok(EventData::Ignored(IgnoreReason::OtherMode));
    }
    let Some(event_type) = EventType::parse(&header.event_type) else {
        return Ok(EventData::Ignored(IgnoreReason::UnhandledType));
    };
    Ok(match event_type.object() {
        ObjectType::Invoice => {
            EventData::Invoice(Box::new(invoice::decode(body, event_type, header, rules)?))
        }
        ObjectType::CheckoutSession => {
            EventData::CheckoutSession(checkout_session::decode(body, event_type, header, rules)?)
        }
        ObjectType::Account => EventData::Account(account::decode(body, event_type, header)?),
        ObjectType::Charge => EventData::Charge(charge::decode(body, header)?),
        ObjectType::CreditNote => {
            EventData::CreditNote(credit_note::decode(body, event_type, header)?)
        }
    })
}

impl Event {
    /// The id of the object that the event is about.
    pub fn object_id(&self) -> Option<&str> {
        match &self.data {
            EventData::Invoice(data) => Some(&data.id),
            EventData::CheckoutSession(data) => Some(&data.id),
            EventData::Account(data) => Some(&data.id),
            EventData::Charge(data) => Some(&data.id),
            EventData::CreditNote(data) => Some(&data.id),
            EventData::Ignored(_) => None,
        }
    }

    /// Whether the event is not for this deployment.
    pub fn is_ignored(&self) -> bool {
        matches!(self.data, EventData::Ignored(_))
    }

    /// The account that the event is of; the platform where it names none.
    pub fn account(&self) -> AccountId {
        self.header.account.clone().unwrap_or_default()
    }

    /// The object and the claim that the event makes for it, where the object is one
    /// that can name a booking. The claim may name none.
    pub fn claim(&self) -> Option<(ObjectId, Claim)> {
        let (object, booking) = match &self.data {
            EventData::Invoice(data) => (ObjectId::Invoice(data.id.clone()), data.booking),
            EventData::CheckoutSession(data) => {
                (ObjectId::CheckoutSession(data.id.clone()), data.booking)
            }
            EventData::Account(_)
            | EventData::Charge(_)
            | EventData::CreditNote(_)
            | EventData::Ignored(_) => return None,
        };
        let account = self.account();
        Some((object, Claim { account, booking }))
    }
}
