//! The envelope of an event: the few fields outside `data`.

use chrono::DateTime;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
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
    /// The connected account that it is about. Where an event has no `account`, the last
    /// part of its `context` if that is an account; of a thin event, its `context`.
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

/// The fields as they stand in the body, read in one pass and left raw until it is known
/// which of them matter.
#[derive(Default)]
struct Fields<'a> {
    id: Demanded<'a>,
    object: Demanded<'a>,
    event_type: Demanded<'a>,
    created: Option<&'a RawValue>,
    livemode: Option<&'a RawValue>,
    account: Option<&'a RawValue>,
    context: Option<&'a RawValue>,
    api_version: Option<&'a RawValue>,
}

#[derive(Default)]
enum Demanded<'a> {
    #[default]
    Missing,
    Once(&'a RawValue),
    Repeated,
}

impl<'a> Demanded<'a> {
    fn put(&mut self, value: &'a RawValue) {
        *self = match self {
            Self::Missing => Self::Once(value),
            Self::Once(_) | Self::Repeated => Self::Repeated,
        };
    }

    fn text(self, name: &'static str) -> Result<Cow<'a, str>, EnvelopeError> {
        match self {
            Self::Missing => Err(EnvelopeError::Field(name)),
            Self::Once(raw) => text(raw).ok_or(EnvelopeError::Field(name)),
            Self::Repeated => Err(EnvelopeError::Repeated(name)),
        }
    }
}

impl<'a> Fields<'a> {
    fn into_envelope(self) -> Result<Envelope<'a>, EnvelopeError> {
        let kind = match self.object.text("object")?.as_ref() {
            "event" => Kind::Event,
            "v2.core.event" => Kind::Thin,
            _ => return Err(EnvelopeError::NotAnEvent),
        };
        let context = self.context.and_then(text);
        let (created, account) = match kind {
            Kind::Event => (
                self.created.and_then(integer),
                self.account
                    .and_then(text)
                    .or_else(|| context.and_then(last_account)),
            ),
            Kind::Thin => (self.created.and_then(rfc3339), context),
        };
        Ok(Envelope {
            id: self.id.text("id")?,
            kind,
            event_type: self.event_type.text("type")?,
            created,
            livemode: self.livemode.and_then(boolean),
            account,
            api_version: self.api_version.and_then(text),
        })
    }
}

/// A JSON string of 1 to 255 bytes, borrowed where it holds no escapes.
fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let quoted = raw.get();
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let text = if inner.contains('\\') {
        Cow::Owned(serde_json::from_str(quoted).ok()?)
    } else {
        Cow::Borrowed(inner)
    };
    (1..=MAX_TEXT).contains(&text.len()).then_some(text)
}

/// The account that a `context` ends with, as in `org_1/acct_2`: an organization's
/// endpoint says there which of its accounts an event is of.
fn last_account(context: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let start = context.rfind('/').map_or(0, |slash| slash + 1);
    let id = context[start..].strip_prefix("acct_")?;
    if id.is_empty() {
        return None;
    }
    Some(match context {
        Cow::Borrowed(context) => Cow::Borrowed(&context[start..]),
        Cow::Owned(mut context) => Cow::Owned(context.split_off(start)),
    })
}

fn integer(raw: &RawValue) -> Option<i64> {
    raw.get().parse().ok()
}

fn boolean(raw: &RawValue) -> Option<bool> {
    raw.get().parse().ok()
}

fn rfc3339(raw: &RawValue) -> Option<i64> {
    let time = DateTime::parse_from_rfc3339(&text(raw)?).ok()?;
    Some(time.timestamp())
}

enum Name {
    Id,
    Object,
    Type,
    Created,
    Livemode,
    Account,
    Context,
    ApiVersion,
    Other,
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(match name {
                    "id" => Name::Id,
                    "object" => Name::Object,
                    "type" => Name::Type,
                    "created" => Name::Created,
                    "livemode" => Name::Livemode,
                    "account" => Name::Account,
                    "context" => Name::Context,
                    "api_version" => Name::ApiVersion,
                    _ => Name::Other,
                })
            }
        }
        deserializer.deserialize_identifier(NameVisitor)
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields<'de>, M::Error> {
                let mut fields = Fields::default();
                while let Some(name) = map.next_key()? {
                    match name {
                        Name::Id => fields.id.put(map.next_value()?),
                        Name::Object => fields.object.put(map.next_value()?),
                        Name::Type => fields.event_type.put(map.next_value()?),
                        Name::Created => fields.created = Some(map.next_value()?),
                        Name::Livemode => fields.livemode = Some(map.next_value()?),
                        Name::Account => fields.account = Some(map.next_value()?),
                        Name::Context => fields.context = Some(map.next_value()?),
                        Name::ApiVersion => fields.api_version = Some(map.next_value()?),
                        Name::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

#[cfg(test)]
mod tests;
