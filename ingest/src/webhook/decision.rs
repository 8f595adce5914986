//! The decision about a request, with its reasons.

use super::response::FixedResponse;
use crate::body::BodyError;
use crate::metric_types::Label;
use crate::publish::Outcome;
use crate::signature::Refusal;

/// The decision about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Accepted(Accepted),
    Refused(RefusalReason),
    /// The event could not be published, for the reason that the outcome tells.
    NotPublished(Outcome),
}

impl Decision {
    pub(super) fn response(self) -> FixedResponse {
        match self {
            Self::Accepted(_) => FixedResponse::Ok,
            Self::Refused(reason) => reason.response(),
            Self::NotPublished(_) => FixedResponse::Unavailable,
        }
    }
}

/// Why an authentic event was answered with 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// The event is on a queue.
    Published,
    /// No queue is bound to the event's type.
    Unrouted,
    /// The event is of the mode that another deployment serves.
    OtherMode,
}

impl Label for Accepted {
    const ALL: &'static [Self] = &[Self::Published, Self::Unrouted, Self::OtherMode];

    fn label(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Unrouted => "unrouted",
            Self::OtherMode => "other_mode",
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

/// Why a request was refused. The client receives the status alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// The signature is missing or wrong.
    Signature(Refusal),
    /// The body is authentic but not an event.
    NotAnEvent,
    /// The path is not [`PATH`](super::PATH).
    Path,
    /// The method is not POST.
    Method,
    /// The body is too long.
    TooLarge,
    /// The body did not arrive in time.
    TooSlow,
    /// The connection ended inside the body, or its framing is not valid HTTP.
    Broken,
    /// All requests together already buffer as many bytes as they may.
    OverBudget,
}

impl RefusalReason {
    fn response(self) -> FixedResponse {
        match self {
            Self::Signature(_) | Self::NotAnEvent | Self::Broken => FixedResponse::BadRequest,
            Self::Path => FixedResponse::NotFound,
            Self::Method => FixedResponse::MethodNotAllowed,
            Self::TooLarge => FixedResponse::TooLarge,
            Self::TooSlow => FixedResponse::TooSlow,
            Self::OverBudget => FixedResponse::Unavailable,
        }
    }
}

impl From<BodyError> for RefusalReason {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::TooLarge,
            BodyError::TooSlow => Self::TooSlow,
            BodyError::Broken => Self::Broken,
            BodyError::OverBudget => Self::OverBudget,
        }
    }
}

impl Label for RefusalReason {
    const ALL: &'static [Self] = &[
        Self::Signature(Refusal::NoHeader),
        Self::Signature(Refusal::SeveralHeaders),
        Self::Signature(Refusal::LongHeader),
        Self::Signature(Refusal::BadTimestamp),
        Self::Signature(Refusal::NoSignature),
        Self::Signature(Refusal::Stale),
        Self::Signature(Refusal::Mismatch),
        Self::NotAnEvent,
        Self::Path,
        Self::Method,
        Self::TooLarge,
        Self::TooSlow,
        Self::Broken,
        Self::OverBudget,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Signature(Refusal::NoHeader) => "no_header",
            Self::Signature(Refusal::SeveralHeaders) => "several_headers",
            Self::Signature(Refusal::LongHeader) => "long_header",
            Self::Signature(Refusal::BadTimestamp) => "bad_timestamp",
            Self::Signature(Refusal::NoSignature) => "no_signature",
            Self::Signature(Refusal::Stale) => "stale",
            Self::Signature(Refusal::Mismatch) => "mismatch",
            Self::NotAnEvent => "not_an_event",
            Self::Path => "path",
            Self::Method => "method",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::Broken => "broken",
            Self::OverBudget => "over_budget",
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Signature(refusal) => refusal as usize,
            Self::NotAnEvent => 7,
            Self::Path => 8,
            Self::Method => 9,
            Self::TooLarge => 10,
            Self::TooSlow => 11,
            Self::Broken => 12,
            Self::OverBudget => 13,
        }
    }
}
