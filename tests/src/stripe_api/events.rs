//! Events: what changed, in the shape of the webhook endpoint's version.

use serde_json::{Value, json};

use super::{
    errors::ApiError,
    pages,
    routes::Work,
    state::{PLATFORM, State, text_time},
    versions,
};
use crate::stripe::Event;

/// An event that waits for its delivery.
#[derive(Clone, Debug)]
pub struct QueuedEvent {
    /// `id`.
    pub id: String,
    /// `type`.
    pub kind: String,
    /// `account` of a snapshot event; the related object of a thin one.
    pub account: Option<String>,
    /// Whether it is a thin one, which does not hold its object.
    pub thin: bool,
    /// The event as it is sent.
    pub value: Value,
}

impl QueuedEvent {
    /// The bytes of a delivery; Stripe indents them.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        format!("{:#}", self.value).into_bytes()
    }
}

impl State {
    /// Makes a snapshot event about an object, in the shape that it has now.
    pub(super) fn emit(&mut self, scope: &str, kind: &str, object: &Value) {
        self.emit_update(scope, kind, object, None);
    }

    /// Makes a snapshot event that says what the object was before.
    pub(super) fn emit_update(
        &mut self,
        scope: &str,
        kind: &str,
        object: &Value,
        previous: Option<Value>,
    ) {
        let version = self.options.webhook_version;
        let id = self.new_id("evt");
        let mut event =
            Event::new(&id, kind, versions::in_version(object, version, false)).at(self.now());
        event.version = version;
        event.livemode = self.options.livemode;
        event.previous_attributes = previous;
        if let Some((request, key)) = &self.cause {
            event.request = json!({ "id": request, "idempotency_key": key });
        }
        if scope != PLATFORM {
            event.account = Some(scope.to_owned());
        }
        let value = event.value();
        self.put(scope, "event", value.clone());
        self.queued.push(QueuedEvent {
            id,
            kind: kind.to_owned(),
            account: event.account,
            thin: false,
            value,
        });
    }

    /// Makes a thin event about an account.
    pub(super) fn emit_thin(&mut self, account: &str, kind: &str, data: Option<Value>) {
        if !self.options.thin_events {
            return;
        }
        let id = self.new_id("evt");
        let mut value = json!({
            "id": id,
            "object": "v2.core.event",
            "type": kind,
            "created": text_time(self.now()),
            "livemode": self.options.livemode,
            "related_object": {
                "id": account,
                "type": "v2.core.account",
                "url": format!("/v2/core/accounts/{account}"),
            },
        });
        if self.options.thin_context {
            value["context"] = account.into();
        }
        if let Some((request, Some(key))) = &self.cause {
            let request = json!({ "id": request, "idempotency_key": key });
            value["reason"] = json!({ "type": "request", "request": request });
        }
        let mut whole = value.clone();
        if let Some(data) = data {
            // Only the event that is asked for holds it, not the one that is sent.
            whole["data"] = data;
        }
        self.put(PLATFORM, "v2.core.event", whole);
        self.queued.push(QueuedEvent {
            id,
            kind: kind.to_owned(),
            account: Some(account.to_owned()),
            thin: true,
            value,
        });
    }
}

/// `GET /v1/events`.
pub(super) fn list(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let types = work.params["types"].as_array().cloned();
    let all = work.state.newest_first(&work.scope, "event");
    let wanted = all.filter(|event| {
        let kind = event["type"].as_str().unwrap_or_default();
        pages::in_range(
            work.params.get("created"),
            event["created"].as_i64().unwrap_or(0),
        ) && work.text("type").is_none_or(|pattern| is_of(kind, pattern))
            && types
                .as_ref()
                .is_none_or(|types| types.iter().any(|one| *one == kind))
    });
    let wanted = wanted.cloned().collect();
    pages::v1(work, wanted)
}

/// Whether a type is the one of the filter, which may end in a star.
fn is_of(kind: &str, pattern: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or(kind == pattern, |start| kind.starts_with(start))
}

/// `GET /v1/events/{id}`.
pub(super) fn retrieve(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let event = work.state.get(&work.scope, "event", &work.id);
    let event = event.cloned();
    event.ok_or_else(|| ApiError::no_such("event", &work.id, "id"))
}

/// `GET /v2/core/events/{id}`.
pub(super) fn retrieve_thin(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let event = work.state.get(PLATFORM, "v2.core.event", &work.id);
    let event = event.cloned();
    event.ok_or_else(|| ApiError::no_such("event", &work.id, "id"))
}
