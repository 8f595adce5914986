//! Why Stripe's API did not do what it was asked.

use std::fmt;

use domain::{decode, text_enum};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The longest name of a parameter that is kept, in bytes.
const MAX_PARAM: usize = 200;

text_enum! {
    /// Why Stripe answered 429, as `Stripe-Rate-Limited-Reason` says.
    pub enum RateLimit {
        /// Too many requests of this platform.
        GlobalRate = "global-rate",
        /// Too many requests to this endpoint.
        EndpointRate = "endpoint-rate",
        /// Too many requests of this platform at once.
        GlobalConcurrency = "global-concurrency",
        /// Too many requests to this endpoint at once.
        EndpointConcurrency = "endpoint-concurrency",
        /// Too many requests about this object.
        ResourceSpecific = "resource-specific",
        /// Without the header: somebody else works on the object.
        LockTimeout = "lock-timeout",
    }
}

/// What Stripe's answer says of an error. The sentence for people is not kept: it can quote
/// what was sent. Nor is a type, a code or a parameter that is no plain name, since what is
/// kept is logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The type, such as `invalid_request_error`.
    pub kind: Option<String>,
    /// The code, such as `parameter_missing`.
    pub code: Option<String>,
    /// The parameter that is wrong, such as `business_profile[url]`.
    pub param: Option<String>,
    /// The request's id, by which Stripe's support finds it.
    pub request: Option<String>,
    /// An earlier try of the same request had no answer that says it did nothing: what is
    /// refused now may have been done then.
    pub in_doubt: bool,
}

/// Why Stripe's API did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// It refused, and nothing was done.
    #[error("Stripe refused the request: {0}")]
    Refused(Refusal),
    /// It had no room for the request, and nothing was done.
    #[error("Stripe limits the rate of requests: {}", .0.as_str())]
    RateLimited(RateLimit),
    /// It failed (5xx): whether something was done has to be asked.
    #[error("Stripe failed with status {status}")]
    Failed {
        /// The HTTP status.
        status: u16,
        /// Whether it is the answer that Stripe keeps under the idempotency key.
        is_replayed: bool,
    },
    /// No answer came: whether something was done or is being done is not known. The same
    /// request under the same key tells.
    #[error("Stripe did not answer: {0}")]
    NoAnswer(&'static str),
    /// The answer cannot be read.
    #[error("Stripe's answer cannot be read: {0}")]
    Unreadable(&'static str),
    /// A refusal without Stripe's error in it: something between here and Stripe wrote it, so
    /// it does not tell what Stripe did.
    #[error("an answer with status {status} is not Stripe's")]
    NotStripes {
        /// The HTTP status.
        status: u16,
    },
    /// A list has more pages than are read, and what is looked for may be on a later one.
    #[error("the list {0} is longer than what is read of it")]
    TooLong(&'static str),
    /// The caller does not wait any more, and Stripe was not asked.
    #[error("the deadline passed before Stripe was asked")]
    TooLate,
}

impl ApiError {
    /// The refusal, where it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether the request that ended so may have been carried out, or be under way: a 409
    /// says that another one of the same key is.
    pub(super) fn leaves_doubt(&self) -> bool {
        match self {
            Self::Failed { .. }
            | Self::NoAnswer(_)
            | Self::Unreadable(_)
            | Self::NotStripes { .. } => true,
            Self::Refused(refusal) => refusal.status == 409,
            Self::RateLimited(_) | Self::TooLong(_) | Self::TooLate => false,
        }
    }

    /// The same, of a request of which an earlier try left this doubt.
    #[must_use]
    pub(super) fn in_doubt(self, in_doubt: bool) -> Self {
        match self {
            Self::Refused(refusal) => Self::Refused(Refusal {
                in_doubt,
                ..refusal
            }),
            other => other,
        }
    }
}

impl Refusal {
    /// Reads the error of an answer's body, of either version; `None` where it has none.
    pub(super) fn read(status: u16, body: &[u8], request: Option<String>) -> Option<Self> {
        #[derive(Deserialize)]
        struct Answer {
            error: Map<String, Value>,
        }
        let answer: Answer = serde_json::from_slice(body).ok()?;
        let text = |name| answer.error.get(name)?.as_str().map(str::to_owned);
        Some(Self {
            status,
            kind: decode::code(text("type")),
            code: decode::code(text("code")),
            param: text("param").filter(|param| is_param(param)),
            request,
            in_doubt: false,
        })
    }

    /// Whether the code is this one.
    pub fn has_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

/// Whether a text is the name of a parameter, such as `business_profile[url]`. Stripe names
/// with it what was sent, and a key of metadata could be anything.
fn is_param(text: &str) -> bool {
    let is_plain = |byte: u8| {
        byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || matches!(byte, b'_' | b'.' | b'[' | b']')
    };
    text.len() <= MAX_PARAM && text.bytes().all(is_plain)
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        let named = [
            ("code", &self.code),
            ("param", &self.param),
            ("request", &self.request),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                write!(f, ", {name} {value}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(error: &Value) -> Option<Refusal> {
        let body = json!({ "error": error }).to_string();
        Refusal::read(400, body.as_bytes(), None)
    }

    #[test]
    fn only_plain_names_of_an_error_are_kept() {
        let plain = json!({
            "type": "invalid_request_error", "code": "parameter_invalid_empty",
            "param": "business_profile[url]", "message": "anna@example.org is no address",
        });
        let refusal = read(&plain).unwrap();
        assert_eq!(
            refusal.to_string(),
            "status 400, code parameter_invalid_empty, param business_profile[url]"
        );
        assert_eq!(refusal.kind.as_deref(), Some("invalid_request_error"));
        let strange = json!({
            "type": "No such host: anna@example.org", "code": "No such host: anna@example.org",
            "param": "metadata[anna@example.org]",
        });
        assert_eq!(read(&strange).unwrap().to_string(), "status 400");
        assert_eq!(read(&json!({ "code": 7 })).unwrap().code, None);
    }

    #[test]
    fn what_has_no_error_in_it_is_no_refusal_of_stripes() {
        for body in ["", "<html>", "{}", "[]", r#"{"error":"denied"}"#] {
            assert_eq!(Refusal::read(403, body.as_bytes(), None), None, "{body}");
        }
    }
}
