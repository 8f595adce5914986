//! How far a host's onboarding is.

use crate::{account::Account, account_snapshot::AccountSnapshot, text_enum};

text_enum! {
    /// The status that the main app reads, as the enum `"HostOnboardingStatus"` writes
    /// it.
    pub enum Status {
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

/// The onboarding of an account whose winning snapshot is `snapshot`; an
/// account without one has only just connected.
pub fn onboarding(account: &Account, snapshot: &AccountSnapshot) -> Onboarding {
    let status = if account.is_disconnected() {
        Status::Disconnected
    } else {
        status(snapshot)
    };
    Onboarding {
        status,
        can_sell: can_sell(snapshot) && status != Status::Disconnected,
        deadline: deadline(snapshot),
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
/// the platform must ask for.
fn can_sell(snapshot: &AccountSnapshot) -> bool {
    snapshot.charges_enabled
        && (snapshot.account_type.as_deref() == Some("standard")
            || snapshot.card_payments.as_deref() == Some("active"))
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
