//! The rules of accounts.

/// One event of an account.
#[derive(Clone, Debug)]
pub struct Sign {
    /// The event's id.
    pub id: String,
    /// When it happened, in seconds since 1970.
    pub created: i64,
    /// What it says.
    pub what: SignKind,
}

/// What an event says of an account.
#[derive(Clone, Debug)]
pub enum SignKind {
    /// The host has cut the connection.
    Deauthorized,
    /// The host has connected.
    Authorized,
    /// The account has changed.
    Updated {
        /// The values now.
        after: Values,
        /// The values before, where the event tells them.
        before: Option<Values>,
    },
}

/// The part of an account that the generator changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// `details_submitted`.
    pub details: bool,
    /// `charges_enabled`.
    pub charges: bool,
    /// `payouts_enabled`.
    pub payouts: bool,
    /// Something is due.
    pub due: bool,
    /// Something is past due.
    pub past_due: bool,
    /// Something is being verified.
    pub pending: bool,
    /// Something will be due, with a deadline.
    pub future: bool,
    /// Why it is held back.
    pub reason: Option<&'static str>,
    /// The capability to be paid by card.
    pub card: bool,
    /// Whether the account is a Standard one.
    pub standard: bool,
}

/// The status of a connected account: the first condition that holds.
fn status(values: &Values) -> &'static str {
    let enabled = values.charges && values.payouts;
    let nothing_due = !values.due && !values.past_due;
    let rules = [
        (
            values
                .reason
                .is_some_and(|reason| reason.starts_with("rejected.")),
            "REJECTED",
        ),
        (
            matches!(values.reason, Some("listed" | "under_review")),
            "IN_REVIEW",
        ),
        (values.reason == Some("platform_paused"), "PAUSED"),
        (!values.details, "INCOMPLETE"),
        (enabled && values.past_due, "RESTRICTED"),
        (enabled && (values.due || values.future), "RESTRICTED_SOON"),
        (enabled, "ENABLED"),
        (
            values.reason == Some("requirements.pending_verification"),
            "IN_REVIEW",
        ),
        (values.pending && nothing_due, "IN_REVIEW"),
    ];
    let first = rules.iter().find(|(holds, _)| *holds);
    first.map_or("RESTRICTED", |(_, status)| status)
}

/// The status, whether the host can sell, and the winning event.
#[must_use]
pub fn host(signs: &[Sign]) -> (String, bool, Option<String>) {
    let newest = |deauthorized: bool| {
        signs
            .iter()
            .filter(|sign| matches!(sign.what, SignKind::Deauthorized) == deauthorized)
            .map(|sign| sign.created)
            .max()
    };
    let cut = newest(true).is_some() && newest(true) >= newest(false);
    let snapshots: Vec<(&Sign, &Values, &Option<Values>)> = signs
        .iter()
        .filter_map(|sign| match &sign.what {
            SignKind::Updated { after, before } => Some((sign, after, before)),
            _ => None,
        })
        .collect();
    let last_second = snapshots.iter().map(|(sign, _, _)| sign.created).max();
    let tied: Vec<_> = snapshots
        .iter()
        .filter(|(sign, _, _)| Some(sign.created) == last_second)
        .collect();
    let unfollowed: Vec<_> = tied
        .iter()
        .filter(|(_, values, _)| {
            !tied
                .iter()
                .any(|(_, after, before)| after != values && before.as_ref() == Some(values))
        })
        .collect();
    let winner = unfollowed
        .iter()
        .map(|candidate| **candidate)
        .max_by_key(|(sign, _, _)| &sign.id)
        .or_else(|| tied.iter().copied().max_by_key(|(sign, _, _)| &sign.id));
    let Some((sign, values, _)) = winner else {
        let status = if cut { "DISCONNECTED" } else { "INCOMPLETE" };
        return (status.into(), false, None);
    };
    let status = if cut { "DISCONNECTED" } else { status(values) };
    let can_sell = values.charges && (values.standard || values.card) && !cut;
    (status.into(), can_sell, Some(sign.id.clone()))
}
