//! Why Stripe's API did not do what it was asked.

use std::fmt;

use domain::text_enum;
use serde::Deserialize;

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
/// what was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Refusal {
    /// The HTTP status.
    #[serde(skip)]
    pub status: u16,
    /// The type, such as `invalid_request_error`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The code, such as `parameter_missing`.
    pub code: Option<String>,
    /// The parameter that is wrong, such as `business_profile[url]`.
    pub param: Option<String>,
    /// The request's id, by which Stripe's support finds it.
    #[serde(skip)]
    pub request: Option<String>,
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
}

impl ApiError {
    /// The refusal, where it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl Refusal {
    /// Reads the error of an answer's body, of either version.
    pub(super) fn read(status: u16, body: &[u8], request: Option<String>) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Answer {
            error: Refusal,
        }
        let answer: Answer = serde_json::from_slice(body).unwrap_or_default();
        Self {
            status,
            request,
            ..answer.error
        }
    }

    /// Whether the code is this one.
    pub fn has_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
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
