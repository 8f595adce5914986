//! The envelope of an event: the few fields outside `data`.

use crate::envelope_fields::Fields;
use std::borrow::Cow;
use std::fmt;

/// The longest id, type, account or API version, in bytes: an AMQP short
/// string holds no more, and Stripe's are far shorter.
pub const MAX_TEXT: usize = 255;

/// Which of Stripe's two kinds of event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `event`: a snapshot event, with the object in `data`.
    Event,
    /// `v2.core.event`: a thin event, which only names the object.
    Thin,
}

/// An event's envelope, borrowed from its bytes.
///
/// Only `id`, `object` and `type` are demanded. Any other field that is
/// missing or of an unexpected shape reads as absent: old API versions and
/// test doubles leave out nearly everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The event's id, `evt_...`.
    pub id: Cow<'a, str>,
    /// What `object` said.
    pub kind: Kind,
    /// The event's type, such as `invoice.paid`.
    pub event_type: Cow<'a, str>,
    /// When Stripe made it, in seconds since 1970.
    pub created: Option<i64>,
    /// Live or test mode.
    pub livemode: Option<bool>,
    /// The connected account that it is about; of a thin event, its `context`.
    pub account: Option<Cow<'a, str>>,
    /// The API version that `data` is written in.
    pub api_version: Option<Cow<'a, str>>,
}

impl<'a> Envelope<'a> {
    /// Reads the envelope of a whole body in one pass. `data` is checked to
    /// be JSON and otherwise neither parsed nor copied; nesting costs no
    /// stack.
    ///
    /// # Errors
    /// The body is not one JSON object in UTF-8 with nothing behind it, or
    /// not an event.
    pub fn read(body: &'a [u8]) -> Result<Self, EnvelopeError> {
        // Checked as a whole, because the reader skips over strings that it
        // need not look at.
        let text = std::str::from_utf8(body).map_err(|_| EnvelopeError::NotUtf8)?;
        let fields: Fields<'a> = serde_json::from_str(text).map_err(EnvelopeError::NotJson)?;
        fields.into_envelope()
    }
}

/// Why a body is not an event. No variant shows the body's contents.
#[derive(Debug)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The body is not UTF-8.
    NotUtf8,
    /// The body is not a JSON object.
    NotJson(serde_json::Error),
    /// A demanded field is missing, or not a text of 1 to 255 bytes.
    Field(&'static str),
    /// A demanded field stands there twice, so that two readers could
    /// disagree about what this event is.
    Repeated(&'static str),
    /// `object` is neither `event` nor `v2.core.event`.
    NotAnEvent,
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("the body is not UTF-8"),
            Self::NotJson(error) => write!(
                f,
                "the body is not a JSON object (line {}, column {})",
                error.line(),
                error.column()
            ),
            Self::Field(name) => write!(f, "`{name}` is not a text of 1 to {MAX_TEXT} bytes"),
            Self::Repeated(name) => write!(f, "`{name}` stands there twice"),
            Self::NotAnEvent => f.write_str("`object` is neither event nor v2.core.event"),
        }
    }
}

// No source: serde's own words may quote the body.
impl std::error::Error for EnvelopeError {}

#[cfg(test)]
mod tests;
