//! The envelope around an object.

use serde_json::{Value, json};

use super::{ApiVersion, SAMPLE_TIME};

/// An event with its object.
#[derive(Clone, Debug)]
pub struct Event {
    /// `id`, such as `evt_1`.
    pub id: String,
    /// `type`, such as `invoice.paid`.
    pub kind: String,
    /// `account`: the connected account; none for the platform's own events.
    pub account: Option<String>,
    /// `created`, in seconds since 1970.
    pub created: i64,
    /// `api_version`.
    pub version: ApiVersion,
    /// `livemode`.
    pub livemode: bool,
    /// `data.object`.
    pub object: Value,
    /// `data.previous_attributes`, where there are any.
    pub previous_attributes: Option<Value>,
    /// `pending_webhooks`: differs between two deliveries of one event.
    pub pending_webhooks: u32,
    /// `request`.
    pub request: Value,
}

impl Event {
    /// A test-mode event of the platform, made at [`SAMPLE_TIME`]. An update of an
    /// invoice says what it was before, as Stripe's do: without the id. What an
    /// account was before matters, so that whoever makes its update says it.
    #[must_use]
    pub fn new(id: &str, kind: &str, object: Value) -> Self {
        let before = json!({ "status": "draft", "total": 1, "invoice_pdf": null });
        Self {
            id: id.to_owned(),
            kind: kind.to_owned(),
            account: None,
            created: SAMPLE_TIME,
            version: ApiVersion::default(),
            livemode: false,
            object,
            previous_attributes: (kind == "invoice.updated").then_some(before),
            pending_webhooks: 1,
            request: json!({ "id": null, "idempotency_key": null }),
        }
    }

    /// The same event of a connected account.
    #[must_use]
    pub fn of_account(mut self, account: &str) -> Self {
        self.account = Some(account.to_owned());
        self
    }

    /// The same event made at another time (seconds since 1970).
    #[must_use]
    pub fn at(mut self, created: i64) -> Self {
        self.created = created;
        self
    }

    /// The event as it is sent.
    #[must_use]
    pub fn value(&self) -> Value {
        let mut event = json!({
            "id": self.id,
            "object": "event",
            "api_version": self.version.name(),
            "created": self.created,
            "data": { "object": self.object },
            "livemode": self.livemode,
            "pending_webhooks": self.pending_webhooks,
            "request": self.request,
            "type": self.kind,
        });
        if let Some(account) = &self.account {
            event["account"] = account.as_str().into();
        }
        if let Some(previous) = &self.previous_attributes {
            event["data"]["previous_attributes"] = previous.clone();
        }
        event
    }

    /// The bytes of a delivery; Stripe indents them.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        to_bytes(&self.value())
    }
}

/// A thin event, which names an object and does not hold it: the account stands
/// in `context`, the time is text.
#[must_use]
pub fn thin_event(id: &str, kind: &str, account: &str) -> Vec<u8> {
    to_bytes(&json!({
        "id": id,
        "object": "v2.core.event",
        "type": kind,
        "created": "2025-10-09T08:53:20.000Z",
        "context": account,
        "livemode": false,
        "reason": null,
        "related_object": {
            "id": account,
            "type": "v2.core.account",
            "url": format!("/v2/core/accounts/{account}"),
        },
    }))
}

fn to_bytes(value: &Value) -> Vec<u8> {
    format!("{value:#}").into_bytes()
}
