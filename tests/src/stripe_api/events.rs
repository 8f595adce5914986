//! Events: what changed, in the shape of the webhook endpoint's version.

use std::{collections::VecDeque, sync::Arc};

use serde_json::{Value, json};

use super::{
    errors::ApiError,
    pages,
    routes::Work,
    state::{PLATFORM, State},
    versions,
};
use crate::stripe::{Event, text_time};

/// The most events that can be asked for: older ones are forgotten. Stripe forgets
/// them after 30 days.
const MOST: usize = 20_000;

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
    /// A run makes many events: they are kept as text, which takes less room.
    body: Arc<str>,
}

impl QueuedEvent {
    /// The bytes of a delivery; Stripe indents them.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.body.as_bytes().to_vec()
    }

    /// The event as it is sent.
    ///
    /// # Panics
    /// Never: it was written as JSON.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.body).expect("an event is JSON")
    }
}

/// The events that can be asked for, the oldest first.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Past>);

/// An event that can be asked for.
#[derive(Debug)]
struct Past {
    scope: String,
    id: String,
    kind: String,
    created: i64,
    thin: bool,
    body: Arc<str>,
}

impl History {
    fn add(&mut self, past: Past) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(past);
    }

    fn get(&self, scope: &str, id: &str, thin: bool) -> Option<Value> {
        let mut newest_first = self.0.iter().rev();
        let past =
            newest_first.find(|one| one.id == id && one.scope == scope && one.thin == thin)?;
        serde_json::from_str(&past.body).ok()
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
        let body: Arc<str> = format!("{:#}", event.value()).into();
        self.history.add(Past {
            scope: scope.to_owned(),
            id: id.clone(),
            kind: kind.to_owned(),
            created: event.created,
            thin: false,
            body: Arc::clone(&body),
        });
        self.queued.push(QueuedEvent {
            id,
            kind: kind.to_owned(),
            account: event.account,
            thin: false,
            body,
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
        self.history.add(Past {
            scope: PLATFORM.to_owned(),
            id: id.clone(),
            kind: kind.to_owned(),
            created: self.now(),
            thin: true,
            body: whole.to_string().into(),
        });
        self.queued.push(QueuedEvent {
            id,
            kind: kind.to_owned(),
            account: Some(account.to_owned()),
            thin: true,
            body: format!("{value:#}").into(),
        });
    }
}

/// `GET /v1/events`.
pub(super) fn list(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let types = work.params["types"].as_array().cloned();
    let newest_first = work.state.history.0.iter().rev();
    let wanted = newest_first.filter(|past| {
        past.scope == work.scope
            && !past.thin
            && pages::in_range(work.params.get("created"), past.created)
            && work
                .text("type")
                .is_none_or(|pattern| is_of(&past.kind, pattern))
            && types
                .as_ref()
                .is_none_or(|types| types.iter().any(|one| *one == past.kind))
    });
    let wanted = wanted.map(|past| json!({ "id": past.id })).collect();
    let mut page = pages::v1(work, wanted)?;
    // Only the events of the page are read.
    for one in page["data"].as_array_mut().into_iter().flatten() {
        let id = one["id"].as_str().unwrap_or_default();
        *one = work
            .state
            .history
            .get(&work.scope, id, false)
            .unwrap_or_default();
    }
    Ok(page)
}

/// Whether a type is the one of the filter, which may end in a star.
fn is_of(kind: &str, pattern: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or(kind == pattern, |start| kind.starts_with(start))
}

/// `GET /v1/events/{id}`.
pub(super) fn retrieve(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let event = work.state.history.get(&work.scope, &work.id, false);
    event.ok_or_else(|| ApiError::no_such("event", &work.id, "id"))
}

/// `GET /v2/core/events/{id}`.
pub(super) fn retrieve_thin(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let event = work.state.history.get(PLATFORM, &work.id, true);
    event.ok_or_else(|| ApiError::no_such("event", &work.id, "id").code("not_found"))
}
