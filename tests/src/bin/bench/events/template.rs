//! Bodies as text with gaps: filling one in costs a copy, where serialising an
//! object anew would cost more than the services that are measured.

use std::io::Write as _;

use serde_json::Value;

/// What a gap is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// The event's id, without `evt_`.
    Event,
    /// The connected account's id, without `acct_`.
    Account,
    /// The booking's number.
    Booking,
    /// The invoice's id, without `in_`.
    Invoice,
    /// The session's id, without `cs_test_`.
    Session,
    /// The host's number.
    Host,
    /// When the event happened, in seconds since 1970.
    Created,
    /// When its object was made, in seconds since 1970.
    Made,
    /// The total, in the currency's minor unit.
    Total,
}

impl Field {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Event, "event"),
        (Self::Account, "account"),
        (Self::Booking, "booking"),
        (Self::Invoice, "invoice"),
        (Self::Session, "session"),
        (Self::Host, "host"),
        (Self::Created, "created"),
        (Self::Made, "made"),
        (Self::Total, "total"),
    ];
}

/// Stands in a number's place while a template is made.
pub(crate) const CREATED: i64 = 1_111_111_111;
/// As [`CREATED`].
pub(crate) const MADE: i64 = 2_222_222_222;
/// As [`CREATED`].
pub(crate) const TOTAL: i64 = 3_333_333_333;

/// Around the name of a field, where a gap is.
const EDGE: &str = "@@";

/// A body with gaps.
#[derive(Debug)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(Vec<u8>),
    Gap(Field),
}

impl Template {
    /// The template of an event, whose texts have `@@field@@` where the gaps are
    /// and whose numbers are the constants above.
    pub(crate) fn of(event: &Value) -> Self {
        // Stripe indents what it sends.
        let text = format!("{event:#}")
            .replace(&CREATED.to_string(), "@@created@@")
            .replace(&MADE.to_string(), "@@made@@")
            .replace(&TOTAL.to_string(), "@@total@@");
        let mut parts = Vec::new();
        for (place, piece) in text.split(EDGE).enumerate() {
            let gap = Field::ALL.iter().find(|(_, name)| *name == piece);
            match gap {
                Some((field, _)) if place % 2 == 1 => parts.push(Part::Gap(*field)),
                Some(_) | None => parts.push(Part::Text(piece.as_bytes().to_vec())),
            }
        }
        Self(parts)
    }

    /// Appends the body to `out`; `fill` writes each gap.
    pub(crate) fn write(&self, out: &mut Vec<u8>, mut fill: impl FnMut(Field, &mut Vec<u8>)) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Gap(field) => fill(*field, out),
            }
        }
    }
}

/// Appends a number.
pub(crate) fn write_number(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    // Writing to memory does not fail.
    let _ = write!(out, "{number}");
}
