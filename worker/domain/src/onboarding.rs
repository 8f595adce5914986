//! How far a host's onboarding is.

use crate::{account::Account, account_snapshot::AccountSnapshot, text_enum};

text_enum! {
    /// The status that the main app reads, as the enum `"HostOnboardingStatus"` writes
    /// it.
    pub enum Status {
        /// The host has connected, and nothing said since how its account is.
        Unknown = "UNKNOWN",
        /// The host has cut the connection.
        Disconnected = "DISCONNECTED",
        /// Stripe has rejected the host; this can be undone.
        Rejected = "REJECTED",
        /// Stripe is checking.
        InReview = "IN_REVIEW",
        /// The platform has paused the host.
        Paused = "PAUSED",
        /// The host has not finished the form.
        Incomplete = "INCOMPLETE",
        /// Something is overdue, or Stripe holds the account back.
        Restricted = "RESTRICTED",
        /// Something is due before a deadline.
        RestrictedSoon = "RESTRICTED_SOON",
        /// Nothing is due.
        Enabled = "ENABLED",
    }
}

/// What the main app reads of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onboarding {
    /// The status.
    pub status: Status,
    /// Whether a guest can pay the host.
    pub can_sell: bool,
    /// The deadline that counts, in Unix seconds.
    pub deadline: Option<i64>,
}

impl Onboarding {
    /// The onboarding of an account.
    pub fn of_account(account: &Account) -> Self {
        let winner = account.winner();
        let snapshot = winner.map(|winner| winner.snapshot);
        let shown = snapshot.map(Self::of_snapshot);
        let cannot_sell = |status| Self {
            status,
            can_sell: false,
            deadline: shown.as_ref().and_then(|shown| shown.deadline),
        };
        if account.is_disconnected() {
            return cannot_sell(Status::Disconnected);
        }
        match shown {
            Some(shown) if account.has_current_snapshot() => shown,
            _ => cannot_sell(Status::Unknown),
        }
    }

    /// The onboarding of a connected account of which this is the latest snapshot.
    pub fn of_snapshot(snapshot: &AccountSnapshot) -> Self {
        Self {
            status: status(snapshot),
            can_sell: can_sell(snapshot),
            deadline: deadline(snapshot),
        }
    }
}

/// The first condition that holds, of a connected account.
pub fn status(snapshot: &AccountSnapshot) -> Status {
    let requirements = &snapshot.requirements;
    let reason = requirements.disabled_reason.as_deref().unwrap_or("");
    let enabled = snapshot.charges_enabled && snapshot.payouts_enabled;
    let nothing_due = requirements.currently_due.is_empty() && requirements.past_due.is_empty();
    if reason.starts_with("rejected.") {
        Status::Rejected
    } else if matches!(reason, "listed" | "under_review") {
        Status::InReview
    } else if reason == "platform_paused" {
        Status::Paused
    } else if !snapshot.details_submitted {
        Status::Incomplete
    } else if enabled && !requirements.past_due.is_empty() {
        Status::Restricted
    } else if enabled && (!requirements.currently_due.is_empty() || due_in_future(snapshot)) {
        Status::RestrictedSoon
    } else if enabled {
        Status::Enabled
    } else if reason == "requirements.pending_verification"
        || (!requirements.pending_verification.is_empty() && nothing_due)
    {
        Status::InReview
    } else {
        Status::Restricted
    }
}

/// A guest's card can be charged. Standard accounts have no capabilities that
/// the platform must ask for, and old accounts have one by another name.
fn can_sell(snapshot: &AccountSnapshot) -> bool {
    let is_active = |capability: &Option<String>| capability.as_deref() == Some("active");
    snapshot.charges_enabled
        && (snapshot.account_type.as_deref() == Some("standard")
            || is_active(&snapshot.card_payments)
            || is_active(&snapshot.legacy_payments))
}

fn due_in_future(snapshot: &AccountSnapshot) -> bool {
    !snapshot.future_currently_due.is_empty() && snapshot.future_deadline.is_some()
}

/// The deadline of today's requirements, else that of the future ones.
fn deadline(snapshot: &AccountSnapshot) -> Option<i64> {
    let future = due_in_future(snapshot)
        .then_some(snapshot.future_deadline)
        .flatten();
    snapshot.requirements.current_deadline.or(future)
}
