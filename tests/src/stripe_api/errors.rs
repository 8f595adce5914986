//! What the stand-in refuses, in the shapes of both versions of the API.

use hyper::StatusCode;
use serde_json::{Value, json};

/// A refusal.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    /// `type`.
    pub(super) kind: &'static str,
    pub(super) code: Option<String>,
    pub(super) message: String,
    pub(super) param: Option<String>,
    /// Whether the request had begun: the first version of the API keeps such an
    /// answer under the idempotency key.
    pub(super) begun: bool,
}

/// The type of most refusals.
pub(super) const INVALID_REQUEST: &str = "invalid_request_error";

impl ApiError {
    pub(super) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            code: None,
            message: message.into(),
            param: None,
            begun: false,
        }
    }

    /// A request that Stripe calls invalid.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, message)
    }

    /// A parameter that is not known.
    pub(super) fn unknown(param: &str) -> Self {
        Self::invalid(format!("Received unknown parameter: {param}"))
            .code("parameter_unknown")
            .param(param)
    }

    /// A parameter that is required.
    pub(super) fn missing(param: &str) -> Self {
        Self::invalid(format!("Missing required param: {param}."))
            .code("parameter_missing")
            .param(param)
    }

    /// An object that is not there.
    pub(super) fn no_such(what: &str, id: &str, param: &str) -> Self {
        let message = format!("No such {what}: '{id}'");
        Self::new(StatusCode::NOT_FOUND, INVALID_REQUEST, message)
            .code("resource_missing")
            .param(param)
    }

    /// An object that a parameter names and that is not there.
    pub(super) fn no_such_param(what: &str, id: &str, param: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            ..Self::no_such(what, id, param)
        }
    }

    /// The key or the account does not allow it.
    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, INVALID_REQUEST, message)
    }

    pub(super) fn code(mut self, code: &str) -> Self {
        self.code = Some(code.to_owned());
        self
    }

    pub(super) fn param(mut self, param: &str) -> Self {
        self.param = Some(param.to_owned());
        self
    }

    /// The same, of a request that had begun.
    pub(super) fn begun(mut self) -> Self {
        self.begun = true;
        self
    }

    /// The body of the answer.
    pub(super) fn body(&self, v2: bool, request: &str) -> Value {
        let mut error = json!({ "message": self.message });
        let about_fields = v2 && self.param.is_some() && self.kind == INVALID_REQUEST;
        if about_fields {
            // The second version names neither a type nor a code of its own here.
            error["code"] = "invalid_fields".into();
        } else {
            error["type"] = self.kind.into();
            if let Some(code) = &self.code {
                error["code"] = code.as_str().into();
                error["doc_url"] = format!("https://stripe.com/docs/error-codes/{code}").into();
            }
        }
        if v2 {
            error["user_message"] = Value::Null;
        }
        if let Some(param) = &self.param {
            error["param"] = param.as_str().into();
        }
        error["request_log_url"] =
            format!("https://dashboard.stripe.com/test/workbench/logs?object={request}").into();
        json!({ "error": error })
    }
}
