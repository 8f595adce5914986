//! What is decided about a request, and the little of it that is answered.

use crate::metrics::{Accepted, Label};
use crate::publish::Outcome;
use crate::signature::Refusal;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

/// Seconds after which a sender may try again. Stripe has a schedule of its
/// own.
const RETRY_SECONDS: &str = "5";

/// What is decided about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted(Accepted),
    Refused(Refused),
    NotPublished(Outcome),
}

impl Verdict {
    pub(super) fn answer(self) -> Answer {
        match self {
            Self::Accepted(_) => Answer::Ok,
            Self::NotPublished(_) => Answer::Unavailable,
            Self::Refused(refused) => refused.answer(),
        }
    }
}

/// Why a request was refused. The client is told the status alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The signature is missing or wrong.
    Signature(Refusal),
    /// Authentic, but not an event.
    NotAnEvent,
    /// Another path.
    Path,
    /// Another method than POST.
    Method,
    /// The body is too long.
    TooLarge,
    /// The body came too slowly.
    TooSlow,
    /// The connection ended inside the body, or its framing is not valid HTTP.
    Broken,
    /// All requests together already buffer as many bytes as they may.
    OverBudget,
}

impl Refused {
    fn answer(self) -> Answer {
        match self {
            Self::Signature(_) | Self::NotAnEvent | Self::Broken => Answer::BadRequest,
            Self::Path => Answer::NotFound,
            Self::Method => Answer::MethodNotAllowed,
            Self::TooLarge => Answer::TooLarge,
            Self::TooSlow => Answer::TooSlow,
            Self::OverBudget => Answer::Unavailable,
        }
    }
}

impl Label for Refused {
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
            Self::OverBudget => "no_room",
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

/// The answers there are, each always the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 200: safe with the broker, or not wanted by anybody.
    Ok,
    /// 400: not authentic, or not an event.
    BadRequest,
    /// 404.
    NotFound,
    /// 405.
    MethodNotAllowed,
    /// 408: too slow.
    TooSlow,
    /// 413.
    TooLarge,
    /// 503: our own side cannot promise durability now.
    Unavailable,
}

impl Answer {
    /// The answer as a response.
    #[must_use]
    pub fn response(self) -> Response<Full<Bytes>> {
        let (status, body, header) = self.parts();
        let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        if let Some((name, value)) = header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }

    fn parts(self) -> (StatusCode, &'static str, Option<(HeaderName, &'static str)>) {
        // The rest of a body that was not read cannot be told from the next
        // request.
        let close = Some((CONNECTION, "close"));
        match self {
            Self::Ok => (StatusCode::OK, "ok\n", None),
            Self::BadRequest => (StatusCode::BAD_REQUEST, "bad request\n", None),
            Self::NotFound => (StatusCode::NOT_FOUND, "not found\n", None),
            Self::MethodNotAllowed => {
                let allow = Some((ALLOW, "POST"));
                (
                    StatusCode::METHOD_NOT_ALLOWED,
                    "method not allowed\n",
                    allow,
                )
            }
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too slow\n", close),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too large\n", close),
            Self::Unavailable => {
                let retry = Some((RETRY_AFTER, RETRY_SECONDS));
                (StatusCode::SERVICE_UNAVAILABLE, "try again later\n", retry)
            }
        }
    }
}

impl Label for Answer {
    const ALL: &'static [Self] = &[
        Self::Ok,
        Self::BadRequest,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::TooSlow,
        Self::TooLarge,
        Self::Unavailable,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Ok => "200",
            Self::BadRequest => "400",
            Self::NotFound => "404",
            Self::MethodNotAllowed => "405",
            Self::TooSlow => "408",
            Self::TooLarge => "413",
            Self::Unavailable => "503",
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}
