//! The fields of an event outside `data`.

use crate::{ids::AccountId, merge::EventOrder};

/// The fields of an event outside `data`, with texts that Postgres can keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The event's id.
    pub id: String,
    /// The event's type.
    pub event_type: String,
    /// The connected account; `None` for the platform's own events.
    pub account: Option<AccountId>,
    /// When the event happened, in Unix seconds; [`UNKNOWN_TIME`](crate::merge::UNKNOWN_TIME) where it does not say.
    pub created: i64,
    /// The API version that the object is written in.
    pub api_version: Option<String>,
    /// Whether it is of the live mode.
    pub livemode: Option<bool>,
}

impl Header {
    /// The order of a value of this rank that the event gives.
    pub fn order(&self, rank: u8) -> EventOrder {
        EventOrder {
            rank,
            created: self.created,
            event_id: self.id.clone(),
        }
    }
}
