//! A request as the stand-in reads it.

use http_body_util::BodyExt as _;
use hyper::{HeaderMap, Method, Request, body::Incoming, header};
use serde_json::{Value, json};

use super::{
    errors::{ApiError, INVALID_REQUEST},
    form,
    parameters::{Wire, check},
    recorded::Recorded,
};

/// A request.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) v2: bool,
    pub(super) idempotency_key: Option<String>,
    pub(super) stripe_version: Option<String>,
    pub(super) stripe_account: Option<String>,
    pub(super) stripe_context: Option<String>,
    pub(super) request_id: String,
    /// The secret key that it came with.
    pub(super) secret: Option<String>,
    content_type: Option<String>,
    body: Vec<u8>,
}

impl Call {
    pub(super) async fn read(
        request: Request<Incoming>,
        request_id: String,
    ) -> hyper::Result<Self> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes().to_vec();
        let header = |name: &str| text(&head.headers, name);
        let path = head.uri.path().to_owned();
        Ok(Self {
            v2: path.starts_with("/v2/"),
            path,
            query: head.uri.query().unwrap_or_default().to_owned(),
            idempotency_key: header("idempotency-key"),
            stripe_version: header("stripe-version"),
            stripe_account: header("stripe-account"),
            stripe_context: header("stripe-context"),
            secret: secret(&head.headers),
            content_type: header(header::CONTENT_TYPE.as_str()),
            method: head.method,
            request_id,
            body,
        })
    }

    pub(super) fn is_post(&self) -> bool {
        self.method == Method::POST
    }

    /// Whose objects it is about, where it says so.
    pub(super) fn account(&self) -> Option<&str> {
        // A context may be a path through organizations: its last part is the account.
        let context = self.stripe_context.as_deref();
        let context = context.map(|context| context.rsplit('/').next().unwrap_or(context));
        self.stripe_account.as_deref().or(context)
    }

    /// The parameters as they came.
    pub(super) fn given(&self) -> Result<(Wire, Value), ApiError> {
        if !self.is_post() {
            let mut query = form::decode(self.query.as_bytes());
            if self.v2 {
                repeated(&mut query, &self.query);
            }
            return Ok((Wire::Form, query));
        }
        let kind = self.content_type.as_deref().unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        match (self.v2, kind) {
            (true, "application/json") if self.body.is_empty() => Ok((Wire::Json, json!({}))),
            (true, "application/json") => serde_json::from_slice(&self.body)
                .map(|body| (Wire::Json, body))
                .map_err(|error| ApiError::invalid(format!("Invalid JSON: {error}"))),
            (true, _) => Err(unsupported(kind, "application/json")),
            (false, "application/x-www-form-urlencoded") => {
                Ok((Wire::Form, form::decode(&self.body)))
            }
            (false, "") if self.body.is_empty() => Ok((Wire::Form, json!({}))),
            (false, _) => Err(unsupported(kind, "application/x-www-form-urlencoded")),
        }
    }

    /// The parameters of a route, with their types.
    pub(super) fn params(&self, route: &str) -> Result<Value, ApiError> {
        let (wire, mut given) = self.given()?;
        let page = given.as_object_mut().and_then(|given| {
            // The address of a next page holds it; the type definitions do not.
            (self.v2 && !self.is_post())
                .then(|| given.remove("page"))
                .flatten()
        });
        let mut params = check(route, wire, &given)?;
        if let Some(page) = page {
            params["page"] = page;
        }
        Ok(params)
    }

    /// What is kept of it.
    pub(super) fn record(&self) -> Recorded {
        Recorded {
            method: self.method.to_string(),
            path: self.path.clone(),
            query: self.query.clone(),
            params: self.given().map(|(_, given)| given).unwrap_or_default(),
            stripe_version: self.stripe_version.clone(),
            stripe_account: self.stripe_account.clone(),
            stripe_context: self.stripe_context.clone(),
            idempotency_key: self.idempotency_key.clone(),
            status: None,
            request_id: self.request_id.clone(),
            replayed: false,
        }
    }
}

/// Lists in a query of the second version repeat their name as well.
fn repeated(query: &mut Value, text: &str) {
    for name in ["include", "applied_configurations"] {
        if query[name].is_string() {
            let pairs = url::form_urlencoded::parse(text.as_bytes());
            let values = pairs.filter(|(other, _)| other == name);
            query[name] = values
                .map(|(_, value)| Value::from(value.as_ref()))
                .collect();
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// The key of `Bearer KEY`, or of a basic login with the key as name.
fn secret(headers: &HeaderMap) -> Option<String> {
    let value = text(headers, header::AUTHORIZATION.as_str())?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    None
}

fn unsupported(kind: &str, wanted: &str) -> ApiError {
    let message = format!("Unsupported content type: '{kind}'. This endpoint takes {wanted}.");
    ApiError::new(hyper::StatusCode::BAD_REQUEST, INVALID_REQUEST, message)
}
