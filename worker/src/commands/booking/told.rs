//! Tells the pipeline what Stripe's API said of a session that a command made.
//!
//! It goes the way of an event, so that one path decides whose a booking is. Its `created`
//! is before that of every event: so the claim of a session that we made comes first, and a
//! forged one is refused even if it came earlier, while anything that an event says of the
//! session is newer. A later attempt comes before an earlier one, behind which it began because
//! nobody can pay by that any more.
//!
//! The booking is that of the record, and stays: a host can write the session's metadata, and
//! would have any booking by them.

use domain::{
    checkout_session::{LAST_TOLD, TOLD_ID},
    ids::BookingId,
    outcome::Decision,
};
use event::{EventType, Mode};
use serde_json::{Value, json};
use store::command::Record;

use super::session;
use crate::commands::{error::CommandError, service::CommandService};

/// The `created` of what commands tell of a session, in Unix seconds: a second less of each
/// further attempt.
fn created(attempt: i32) -> i64 {
    (LAST_TOLD - i64::from(attempt)).max(1)
}

impl CommandService {
    /// Has the pipeline take in how the session is that an attempt made for the booking.
    pub(super) async fn tell(
        &self,
        booking: BookingId,
        session: &Value,
        record: &Record,
    ) -> Result<Decision, CommandError> {
        let rules = &self.decoder.rules;
        let metadata = json!({ &rules.booking_key: booking.to_string() });
        let body = told(session, record, &metadata, rules.mode).to_string();
        let delivery = self.decoder.unqueued(body.as_bytes());
        let taken = self.telling.tell(delivery).await;
        taken.map_err(|_| CommandError::internal())
    }
}

/// The event. It holds nothing of the guest's.
fn told(session: &Value, record: &Record, metadata: &Value, mode: Mode) -> Value {
    let id = session["id"].as_str().unwrap_or_default();
    let status = session["status"].as_str().unwrap_or_default();
    let payment_status = session["payment_status"].as_str().unwrap_or_default();
    let link = |field: &str| match &session[field] {
        Value::Object(object) => object.get("id").cloned().unwrap_or_default(),
        other => other.clone(),
    };
    json!({
        "id": format!("{TOLD_ID}{id}_{status}_{payment_status}"),
        "object": "event",
        "type": EventType::CheckoutSessionTold.as_str(),
        "created": created(record.attempt),
        "livemode": mode == Mode::Live,
        "account": session::account(record).as_str(),
        "data": { "object": {
            "id": id,
            "object": "checkout.session",
            "status": status,
            "payment_status": payment_status,
            "invoice": link("invoice"),
            "payment_intent": link("payment_intent"),
            "metadata": metadata,
        } },
    })
}
