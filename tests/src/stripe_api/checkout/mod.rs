//! `/v1/checkout/sessions`, and guests who pay.

mod create;
mod pay;
mod session;

pub(super) use self::create::create;
pub use self::pay::Payment;

use serde_json::{Value, json};

use super::{
    errors::ApiError,
    pages,
    payments::metadata_of,
    routes::Work,
    state::{State, list as list_of},
};

/// The kind under which sessions are kept.
const SESSION: &str = "checkout.session";
/// The kind under which the parameters of a session are kept.
const PARAMS: &str = "checkout.session.params";

/// `GET /v1/checkout/sessions/{id}`.
pub(super) fn retrieve(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let session = work.state.get(&work.scope, SESSION, &work.id).cloned();
    let mut session = session.ok_or_else(|| no_such(&work.id))?;
    let expanded = work.params["expand"].as_array();
    if expanded.is_some_and(|paths| paths.iter().any(|path| *path == "line_items")) {
        let kept = work.state.get(&work.scope, PARAMS, &work.id);
        let items = kept.and_then(|kept| kept["items"].as_array().cloned());
        let url = format!("{}/line_items", work.path);
        session["line_items"] = list_of(&url, items.unwrap_or_default());
    }
    Ok(session)
}

fn no_such(id: &str) -> ApiError {
    ApiError::no_such("checkout.session", id, "session")
}

/// `GET /v1/checkout/sessions`.
pub(super) fn list(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let names = [
        "customer",
        "payment_intent",
        "payment_link",
        "status",
        "subscription",
    ];
    let email = &work.params["customer_details"]["email"];
    let all = work.state.newest_first(&work.scope, SESSION);
    let wanted = all.filter(|session| {
        let created = session["created"].as_i64().unwrap_or(0);
        pages::has(work, session, &names)
            && pages::in_range(work.params.get("created"), created)
            && (email.is_null() || session["customer_details"]["email"] == *email)
    });
    let wanted = wanted.cloned().collect();
    pages::v1(work, wanted)
}

/// `POST /v1/checkout/sessions/{id}`: its metadata, which the host can write as well.
pub(super) fn update(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let session = work.state.get(&work.scope, SESSION, &work.id).cloned();
    let mut session = session.ok_or_else(|| no_such(&work.id))?;
    let mut given = work.params.clone();
    if let Some(params) = given.as_object_mut() {
        params.remove("metadata");
        params.remove("expand");
    }
    if let Some(other) = given.as_object().and_then(|params| params.keys().next()) {
        let message = format!("The stand-in does not change a session's {other}.");
        return Err(ApiError::invalid(message).param(other));
    }
    if let Value::Object(metadata) = metadata_of(&work.params) {
        for (name, value) in metadata {
            session["metadata"][name] = value;
        }
    }
    work.state.put(&work.scope, SESSION, session.clone());
    Ok(session)
}

/// `POST /v1/checkout/sessions/{id}/expire`.
pub(super) fn expire(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let session = work.state.get(&work.scope, SESSION, &work.id).cloned();
    let session = session.ok_or_else(|| no_such(&work.id))?;
    if session["status"] != "open" {
        let status = session["status"].as_str().unwrap_or_default();
        let message = format!(
            "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout \
             Session has a status of {status}."
        );
        return Err(ApiError::invalid(message).begun());
    }
    let scope = work.scope.clone();
    Ok(work.state.expire_session(&scope, session))
}

impl State {
    fn expire_session(&mut self, scope: &str, mut session: Value) -> Value {
        session["status"] = "expired".into();
        session["url"] = Value::Null;
        self.put(scope, SESSION, session.clone());
        self.emit(scope, "checkout.session.expired", &session);
        session
    }

    /// Whether a session is open and its time is over.
    fn is_over(&self, session: &Value) -> bool {
        let expires_at = session["expires_at"].as_i64().unwrap_or(0);
        session["status"] == "open" && expires_at <= self.now()
    }

    /// Expires the open sessions whose time is over.
    pub(super) fn expire_what_is_over(&mut self) {
        for scope in self.scopes(SESSION) {
            let over = self
                .newest_first(&scope, SESSION)
                .filter(|session| self.is_over(session));
            let over: Vec<Value> = over.cloned().collect();
            for session in over.into_iter().rev() {
                self.expire_session(&scope, session);
            }
        }
    }
}

/// What is kept of a session beside the session itself.
fn kept(id: &str, params: &Value, items: Vec<Value>) -> Value {
    json!({ "id": id, "params": params, "items": items })
}
