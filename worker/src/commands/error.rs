//! Why a command was not done, as the main app reads it.

use serde::Serialize;
use serde_json::{Map, Value};
use store::Error as StoreError;
use tracing::warn;

use crate::{
    jobs::read_accounts::ReadError,
    stripe::{
        accounts::ReadError as AccountError,
        error::{ApiError, Refusal},
    },
};

/// The code of a command whose time is over.
pub(super) const EXPIRED: &str = "expired";
/// The code of a command that Stripe refuses for what it asks for.
pub(super) const STRIPE_REFUSED: &str = "stripe_refused";

/// Why a command was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommandError {
    /// A code that stays the same.
    pub code: &'static str,
    /// A sentence for developers and operators.
    pub message: String,
    /// The field of the command that is wrong, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Whether the same command can succeed later.
    pub retryable: bool,
    /// What the error is about, by its name, such as the invoice of a booking that is paid.
    #[serde(flatten)]
    pub about: Option<Box<Map<String, Value>>>,
}

impl CommandError {
    /// An error that the same command meets again.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            field: None,
            retryable: false,
            about: None,
        }
    }

    /// With what it is about.
    #[must_use]
    pub fn with(self, name: &str, value: Value) -> Self {
        let about = Map::from_iter([(name.to_owned(), value)]);
        Self {
            about: Some(Box::new(about)),
            ..self
        }
    }

    /// An error that passes.
    pub fn passing(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            retryable: true,
            ..Self::new(code, message)
        }
    }

    /// With the field that is wrong.
    #[must_use]
    pub fn at(self, field: impl Into<String>) -> Self {
        Self {
            field: Some(field.into()),
            ..self
        }
    }

    /// Its time is over, in the queue or before Stripe was asked. A worker that has died may
    /// have begun it.
    pub fn expired() -> Self {
        Self::passing(
            EXPIRED,
            "the command's time is over; send it again, and if it was begun it goes on where it \
             stopped",
        )
    }

    /// It took longer than it may; what it has begun goes on with the next try.
    pub fn timed_out() -> Self {
        Self::passing(
            "timeout",
            "the command was not done in time; send it again, and it goes on where it stopped",
        )
    }

    /// A mistake of the worker's own.
    pub fn internal() -> Self {
        Self::new(
            "internal",
            "the worker failed on this command; its log says why",
        )
    }

    /// The worker stopped in the middle of it, several times.
    pub fn interrupted() -> Self {
        Self::passing(
            "interrupted",
            "the worker stopped several times while it did this command; send it again",
        )
    }

    /// Commands are switched off.
    pub fn not_configured() -> Self {
        Self::new(
            "not_configured",
            "commands need STRIPE_API_KEY, which the worker does not have",
        )
    }

    /// Another attempt at the same thing is at Stripe.
    pub fn in_progress() -> Self {
        Self::passing(
            "in_progress",
            "the same command is being done; send it again to hear how it ended",
        )
    }

    /// Stripe cannot be reached or failed.
    pub fn stripe_unavailable() -> Self {
        Self::passing(
            "stripe_unavailable",
            "Stripe did not do it now; send the command again",
        )
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        warn!(reason = %store::in_log(&error), "a command met an error of the database");
        Self::passing(
            "database_unavailable",
            "the worker's database did not answer; send the command again",
        )
    }
}

impl From<ApiError> for CommandError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Refused(refusal) => refused(&refusal),
            ApiError::RateLimited(_) => Self::passing(
                "rate_limited",
                "Stripe limits how often it is asked; send the command again in a while",
            ),
            ApiError::Failed { .. }
            | ApiError::NoAnswer(_)
            | ApiError::Unreadable(_)
            | ApiError::NotStripes { .. } => Self::stripe_unavailable(),
            ApiError::TooLong(endpoint) => Self::passing(
                "list_too_long",
                format!(
                    "the list {endpoint} of the account is longer than what is read of it, so \
                     nobody can say whether what is to be made is there already; it passes: a \
                     Checkout Session is open for a day at most"
                ),
            ),
            ApiError::TooLate => Self::expired(),
        }
    }
}

impl From<ReadError> for CommandError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Database(error) => error.into(),
            ReadError::Client(AccountError::Api(error)) => error.into(),
            ReadError::Client(AccountError::NoAccount | AccountError::Rejected(_)) => {
                Self::stripe_unavailable()
            }
        }
    }
}

/// Stripe's parameters, and the fields of commands that fill them.
const FIELDS: [(&str, &str); 13] = [
    ("contact_email", "email"),
    ("email", "email"),
    ("identity.country", "country"),
    ("country", "country"),
    ("identity.entity_type", "entityType"),
    ("business_type", "entityType"),
    ("defaults.currency", "currency"),
    ("default_currency", "currency"),
    ("display_name", "displayName"),
    ("refresh_url", "refreshUrl"),
    ("return_url", "returnUrl"),
    ("components", "components"),
    ("price_data.unit_amount", "amount"),
];

/// Maps a refusal. Stripe's sentence is not passed on: it is written for whoever holds the
/// key, and may quote what was sent.
fn refused(refusal: &Refusal) -> CommandError {
    let error = match refusal.status {
        401 => CommandError::new(
            "stripe_key_refused",
            "Stripe refuses the worker's API key (STRIPE_API_KEY)",
        ),
        403 => CommandError::new(
            "stripe_permission",
            "the worker's API key may not do this, or not for this account",
        ),
        404 => CommandError::new("not_found_at_stripe", "Stripe does not have the object"),
        409 => return CommandError::in_progress(),
        _ => {
            let code = refusal.code.as_deref().or(refusal.kind.as_deref());
            let code = code.unwrap_or("no code");
            CommandError::new(STRIPE_REFUSED, format!("Stripe refuses it: {code}"))
        }
    };
    match refusal.param.as_deref().and_then(field) {
        Some(field) => CommandError {
            message: format!("{} ({field})", error.message),
            ..error.at(field)
        },
        None => error,
    }
}

/// The command's field behind a parameter of Stripe's, whichever way it is written:
/// `identity[country]`, `identity.country`.
fn field(param: &str) -> Option<&'static str> {
    let param = param.replace('[', ".").replace(']', "");
    let is_it = |stripe: &str| {
        param == stripe
            || param.ends_with(&format!(".{stripe}"))
            || param.starts_with(&format!("{stripe}."))
    };
    if param.contains("capabilities") {
        return Some("capabilities");
    }
    FIELDS
        .iter()
        .find(|(stripe, _)| is_it(stripe))
        .map(|(_, ours)| *ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_our_field_and_never_stripes_sentence() {
        for (param, ours) in [
            ("identity.country", "country"),
            ("identity[country]", "country"),
            ("country", "country"),
            ("use_case.account_onboarding.refresh_url", "refreshUrl"),
            ("components[payments]", "components"),
            ("configuration.merchant.capabilities.x", "capabilities"),
        ] {
            let refusal = Refusal {
                status: 400,
                code: Some("parameter_invalid".into()),
                param: Some(param.into()),
                ..Refusal::default()
            };
            let error = refused(&refusal);
            assert_eq!(error.field.as_deref(), Some(ours), "{param}");
            assert_eq!(
                error.message,
                format!("Stripe refuses it: parameter_invalid ({ours})")
            );
            assert!(!error.retryable);
        }
        let without = Refusal {
            status: 402,
            ..Refusal::default()
        };
        assert_eq!(refused(&without).message, "Stripe refuses it: no code");
    }

    #[test]
    fn what_passes_is_retryable() {
        for error in [
            ApiError::NoAnswer("it took too long"),
            ApiError::Failed {
                status: 500,
                is_replayed: false,
            },
            ApiError::RateLimited(crate::stripe::error::RateLimit::GlobalRate),
            ApiError::Refused(Refusal {
                status: 409,
                ..Refusal::default()
            }),
        ] {
            assert!(CommandError::from(error).retryable);
        }
    }
}
