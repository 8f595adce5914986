//! The responses that the service sends.

use crate::metric_types::Label;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

/// The seconds after which a client may try again. Stripe follows its own
/// schedule.
const RETRY_SECONDS: &str = "5";

/// The responses that the service sends. Each always has the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FixedResponse {
    /// 200: the broker has confirmed the event, or no queue is for it.
    Ok,
    /// 400: the body is not authentic, or not an event.
    BadRequest,
    /// 404: the path is unknown.
    NotFound,
    /// 405: the method is not POST.
    MethodNotAllowed,
    /// 408: the request did not arrive in time.
    TooSlow,
    /// 413: the body is too long.
    TooLarge,
    /// 503: the service or the broker cannot take the event now.
    Unavailable,
}

impl FixedResponse {
    /// Builds the HTTP response.
    #[must_use]
    pub fn to_http(self) -> Response<Full<Bytes>> {
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
        // The rest of an unread body would be taken for the next request.
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

impl Label for FixedResponse {
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
