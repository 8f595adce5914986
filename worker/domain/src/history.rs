//! The history of a host: what each event of its account says by itself.

use crate::{
    account::AccountChange,
    event::{Event, EventData},
    ids::AccountId,
    onboarding::{Onboarding, Status},
    text_enum,
};

text_enum! {
    /// What an event changed of an account.
    pub enum ChangeKind {
        /// Its snapshot.
        Updated = "updated",
        /// The host connected.
        Authorized = "authorized",
        /// The host cut the connection.
        Deauthorized = "deauthorized",
    }
}

/// One event of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountTransition {
    /// The account.
    pub account: AccountId,
    /// The event's `created`, in Unix seconds.
    pub event_created: i64,
    /// The event.
    pub event_id: String,
    /// What changed.
    pub change: ChangeKind,
    /// The status that the event alone gives.
    pub status: Option<Status>,
    /// Whether a guest could pay the host.
    pub can_sell: Option<bool>,
    /// Stripe's reason for holding the account back.
    pub disabled_reason: Option<String>,
    /// When Stripe will hold the account back, in Unix seconds.
    pub deadline: Option<i64>,
}

impl AccountTransition {
    /// The transition that an event makes; `None` for an event of no account, and for a thin
    /// one, which does not say how the account is.
    pub fn of(event: &Event) -> Option<Self> {
        let EventData::Account(data) = &event.data else {
            return None;
        };
        let mut transition = Self {
            account: data.id.clone(),
            event_created: event.header.created,
            event_id: event.header.id.clone(),
            change: ChangeKind::Authorized,
            status: None,
            can_sell: None,
            disabled_reason: None,
            deadline: None,
        };
        match &data.change {
            AccountChange::Changed | AccountChange::Closed => return None,
            AccountChange::Authorized(_) => {}
            AccountChange::Deauthorized(_) => {
                transition.change = ChangeKind::Deauthorized;
                transition.status = Some(Status::Disconnected);
                transition.can_sell = Some(false);
            }
            AccountChange::Updated(candidate) => {
                let alone = Onboarding::of_snapshot(&candidate.after);
                transition.change = ChangeKind::Updated;
                transition.status = Some(alone.status);
                transition.can_sell = Some(alone.can_sell);
                transition
                    .disabled_reason
                    .clone_from(&candidate.after.requirements.disabled_reason);
                transition.deadline = alone.deadline;
            }
        }
        Some(transition)
    }
}
