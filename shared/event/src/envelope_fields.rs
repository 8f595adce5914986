//! Reading the envelope's fields in one pass, each left raw until it is known
//! which of them matter.

use crate::envelope::{Envelope, EnvelopeError, Kind, MAX_TEXT};
use chrono::DateTime;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The fields as they stand in the body, each still raw.
#[derive(Default)]
pub(super) struct Fields<'a> {
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
    pub(super) fn into_envelope(self) -> Result<Envelope<'a>, EnvelopeError> {
        let kind = match self.object.text("object")?.as_ref() {
            "event" => Kind::Event,
            "v2.core.event" => Kind::Thin,
            _ => return Err(EnvelopeError::NotAnEvent),
        };
        let (created, account) = match kind {
            Kind::Event => (self.created.and_then(integer), self.account),
            Kind::Thin => (self.created.and_then(rfc3339), self.context),
        };
        Ok(Envelope {
            id: self.id.text("id")?,
            kind,
            event_type: self.event_type.text("type")?,
            created,
            livemode: self.livemode.and_then(boolean),
            account: account.and_then(text),
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
