//! Answers: their status, their headers and their body.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};
use serde_json::Value;

use super::{
    call::Call,
    errors::{ApiError, INVALID_REQUEST},
    faults::RateLimit,
};
use crate::stripe::ApiVersion;

/// What is answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
    /// The request that got it first, where it is an answer of before.
    pub(super) replayed: Option<String>,
    pub(super) limit: Option<RateLimit>,
    /// What stands in the place of the body, where it is no JSON of Stripe's.
    pub(super) text: Option<&'static str>,
}

impl Answer {
    pub(super) fn plain(status: StatusCode, body: Value) -> Self {
        Self {
            status,
            body,
            replayed: None,
            limit: None,
            text: None,
        }
    }

    pub(super) fn refused(error: &ApiError, call: &Call) -> Self {
        Self::plain(error.status, error.body(call.v2, &call.request_id))
    }
}

pub(super) fn internal(call: &Call) -> Answer {
    let message = "An unknown error occurred. You can safely retry this request with the same key.";
    let error = ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "api_error", message);
    Answer::refused(&error, call)
}

pub(super) fn locked(status: StatusCode) -> ApiError {
    let message = "This object cannot be accessed right now because another API request or Stripe \
                   process is currently accessing it.";
    ApiError::new(status, INVALID_REQUEST, message).code("lock_timeout")
}

pub(super) fn rate_limited(call: &Call, limit: RateLimit) -> Answer {
    let status = StatusCode::TOO_MANY_REQUESTS;
    let error = match limit {
        RateLimit::LockTimeout => locked(status),
        _ => {
            let kind = if call.v2 {
                "rate_limit"
            } else {
                INVALID_REQUEST
            };
            ApiError::new(status, kind, "Request rate limit exceeded.").code("rate_limit")
        }
    };
    Answer {
        limit: Some(limit),
        ..Answer::refused(&error, call)
    }
}

pub(super) fn response(call: &Call, answer: Answer, retry: Option<bool>) -> Response<Full<Bytes>> {
    let newest = ApiVersion::NEWEST.name();
    let mut response = Response::builder()
        .status(answer.status)
        .header("content-type", "application/json")
        .header("request-id", &call.request_id)
        .header(
            "stripe-version",
            call.stripe_version.as_deref().unwrap_or(newest),
        );
    if let Some(account) = call.account() {
        response = response.header("stripe-account", account);
    }
    if let Some(key) = &call.idempotency_key {
        response = response.header("idempotency-key", key);
    }
    if let Some(original) = answer.replayed {
        response = response.header("idempotent-replayed", "true");
        response = response.header("original-request", original);
    }
    if let Some(reason) = answer.limit.and_then(RateLimit::reason) {
        response = response.header("stripe-rate-limited-reason", reason);
    }
    if let Some(retry) = retry {
        response = response.header("stripe-should-retry", retry.to_string());
    }
    let body = match answer.text {
        Some(text) => Bytes::from_static(text.as_bytes()),
        None => Bytes::from(format!("{:#}", answer.body)),
    };
    let body = Full::new(body);
    response
        .body(body)
        .expect("the headers came in with a request")
}
