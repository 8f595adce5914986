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
    /// The host has cut the connection by this application, where the event names it.
    Deauthorized(Option<&'static str>),
    /// The host has connected by this application, where the event names it.
    Authorized(Option<&'static str>),
    /// The account was closed: nothing connects it again.
    Closed,
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
    /// The capability that old accounts have in its place.
    pub legacy: bool,
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

/// Whether a deauthorisation that can be of the same application follows, in the same
/// second or later.
fn is_followed(sign: &Sign, signs: &[Sign]) -> bool {
    let of_sign = match sign.what {
        SignKind::Authorized(application) => application,
        SignKind::Updated { .. } | SignKind::Deauthorized(_) | SignKind::Closed => None,
    };
    signs.iter().any(|other| match other.what {
        SignKind::Deauthorized(cut) => {
            let is_same = of_sign.is_none() || cut.is_none() || of_sign == cut;
            is_same && other.created >= sign.created
        }
        SignKind::Authorized(_) | SignKind::Updated { .. } | SignKind::Closed => false,
    })
}

/// Whether the account was closed, or each sign of connection was followed by a
/// deauthorisation.
fn is_cut(signs: &[Sign]) -> bool {
    if signs
        .iter()
        .any(|sign| matches!(sign.what, SignKind::Closed))
    {
        return true;
    }
    let is_deauthorized = |sign: &Sign| matches!(sign.what, SignKind::Deauthorized(_));
    signs.iter().any(is_deauthorized)
        && signs
            .iter()
            .all(|sign| is_deauthorized(sign) || is_followed(sign, signs))
}

/// Whether a snapshot of this second tells of the account still: since then the account
/// was neither cut nor authorised, or it is connected by an application that was
/// authorised before, and not once more.
fn is_current(second: i64, signs: &[Sign]) -> bool {
    let is_disturbed = signs.iter().any(|sign| match sign.what {
        SignKind::Deauthorized(_) => sign.created >= second,
        SignKind::Authorized(_) => sign.created > second,
        SignKind::Updated { .. } | SignKind::Closed => false,
    });
    let is_authorized_after = |application: Option<&str>| {
        signs.iter().any(|sign| {
            matches!(sign.what, SignKind::Authorized(other) if other == application)
                && sign.created > second
        })
    };
    let is_lasting = signs.iter().any(|sign| match sign.what {
        SignKind::Authorized(application) => {
            sign.created <= second && !is_followed(sign, signs) && !is_authorized_after(application)
        }
        SignKind::Deauthorized(_) | SignKind::Updated { .. } | SignKind::Closed => false,
    });
    !is_disturbed || is_lasting
}

/// The status, whether the host can sell, and the winning event.
#[must_use]
pub fn host(signs: &[Sign]) -> (String, bool, Option<String>) {
    let cut = is_cut(signs);
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
        let status = if cut { "DISCONNECTED" } else { "UNKNOWN" };
        return (status.into(), false, None);
    };
    let is_known = !cut && is_current(sign.created, signs);
    let status = match (cut, is_known) {
        (true, _) => "DISCONNECTED",
        (false, false) => "UNKNOWN",
        (false, true) => status(values),
    };
    let can_sell = values.charges && (values.standard || values.card || values.legacy) && is_known;
    (status.into(), can_sell, Some(sign.id.clone()))
}
