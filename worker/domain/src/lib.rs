//! What Stripe's events say, and what follows from it. Pure: no database, no
//! broker, no clock and no log.
//!
//! To add an event type of a known object, add its line to
//! [`event::EventType`]. To add an object, add a file with what an event says of it and how
//! that is joined, a variant of [`Fact`], and follow the compiler.

pub mod account;
pub mod amount;
pub mod booking;
pub mod claim;
pub mod fields;
pub mod invoice;
pub mod onboarding;
pub mod place;
pub mod rejection;
pub mod rejudge;
pub mod session;
pub mod snapshot;
pub mod verdict;
pub mod version;
pub mod world;

use event::{Envelope, EventType, Mode, ObjectType};

use account::AccountFact;
use booking::Kind;
use claim::Claim;
use invoice::InvoiceFact;
use rejection::Rejection;
use session::SessionFact;

/// The `created` of an event that does not say when it happened: it never wins
/// against one that does, neither as the latest nor as the first.
pub const UNKNOWN_TIME: i64 = 0;

/// What an event says of itself, with texts that Postgres can keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The event's id.
    pub id: String,
    /// The event's type.
    pub event_type: String,
    /// The connected account; `None` for the platform's own events.
    pub account: Option<String>,
    /// When the event happened, in Unix seconds; 0 where it doesn't say.
    pub created: i64,
    /// The version that the object is written in.
    pub api_version: Option<String>,
    /// Whether it is of the live mode.
    pub livemode: Option<bool>,
}

/// An event that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it says of itself.
    pub header: Header,
    /// What it says of its object.
    pub fact: Fact,
}

/// What an event says of its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// `invoice.*`
    Invoice(InvoiceFact),
    /// `checkout.session.*`
    Session(SessionFact),
    /// `account.*`
    Account(AccountFact),
    /// The event is not for us.
    Ignored(Ignored),
}

/// Why an event is not for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// It is of the other mode.
    OtherMode,
    /// Nothing here follows from its type.
    UnhandledType,
}

impl Ignored {
    /// The reason, as the ledger keeps it.
    pub fn code(self) -> &'static str {
        match self {
            Self::OtherMode => "other_mode",
            Self::UnhandledType => "unhandled_type",
        }
    }
}

/// An event that cannot be applied, with as much as could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// What it says of itself, where that could be read.
    pub header: Option<Box<Header>>,
    /// Why it cannot be applied.
    pub rejection: Rejection,
}

/// What reading depends on, fixed for a deployment.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The mode of this deployment.
    pub mode: Mode,
    /// The metadata key that names the booking.
    pub booking_key: String,
}

/// Reads one event from its bytes.
///
/// # Errors
/// [`Rejected`] where the event cannot be read or kept.
pub fn read(body: &[u8], rules: &Rules) -> Result<Event, Rejected> {
    let header = header(body).map_err(|rejection| Rejected {
        header: None,
        rejection,
    })?;
    match fact(body, &header, rules) {
        Ok(fact) => Ok(Event { header, fact }),
        Err(rejection) => Err(Rejected {
            header: Some(Box::new(header)),
            rejection,
        }),
    }
}

fn header(body: &[u8]) -> Result<Header, Rejection> {
    let envelope = Envelope::read(body).map_err(|error| Rejection::UnreadableEvent {
        why: error.to_string(),
    })?;
    let optional = |value: Option<std::borrow::Cow<'_, str>>, field| {
        fields::optional_text(value.map(Into::into), field, fields::MAX_ID)
    };
    Ok(Header {
        id: fields::text(envelope.id.into(), "id", fields::MAX_ID)?,
        event_type: fields::text(envelope.event_type.into(), "type", fields::MAX_ID)?,
        account: optional(envelope.account, "account")?,
        created: fields::time(envelope.created.unwrap_or(UNKNOWN_TIME), "created")?,
        api_version: optional(envelope.api_version, "api_version")?,
        livemode: envelope.livemode,
    })
}

fn fact(body: &[u8], header: &Header, rules: &Rules) -> Result<Fact, Rejection> {
    if !rules.mode.accepts(header.livemode) {
        return Ok(Fact::Ignored(Ignored::OtherMode));
    }
    let (id, created, key) = (&header.id, header.created, &rules.booking_key);
    let Some(event_type) = EventType::parse(&header.event_type) else {
        return Ok(Fact::Ignored(Ignored::UnhandledType));
    };
    match event_type.object() {
        ObjectType::Invoice => invoice::read(body, event_type, id, created, key).map(Fact::Invoice),
        ObjectType::CheckoutSession => session::read(body, id, created, key).map(Fact::Session),
        ObjectType::Account => {
            account::read(body, event_type, header.account.as_deref()).map(Fact::Account)
        }
    }
}

impl Event {
    /// The id of the object that the event is about.
    pub fn object_id(&self) -> Option<&str> {
        match &self.fact {
            Fact::Invoice(fact) => Some(&fact.id),
            Fact::Session(fact) => Some(&fact.id),
            Fact::Account(fact) => Some(&fact.id),
            Fact::Ignored(_) => None,
        }
    }

    /// Whether the event is for nobody here.
    pub fn is_ignored(&self) -> bool {
        matches!(self.fact, Fact::Ignored(_))
    }

    /// The kind of that object, where it is one that can claim a booking.
    pub fn kind(&self) -> Option<Kind> {
        match &self.fact {
            Fact::Invoice(_) => Some(Kind::Invoice),
            Fact::Session(_) => Some(Kind::Session),
            Fact::Account(_) | Fact::Ignored(_) => None,
        }
    }

    /// The booking that the event claims, with the account that claims it.
    pub fn claim(&self) -> Option<Claim> {
        let booking = match &self.fact {
            Fact::Invoice(fact) => fact.booking,
            Fact::Session(fact) => fact.booking,
            Fact::Account(_) | Fact::Ignored(_) => return None,
        };
        let account = self.header.account.as_deref().unwrap_or(claim::PLATFORM);
        Some(Claim {
            account: account.to_owned(),
            booking,
        })
    }
}

#[cfg(test)]
mod tests;
