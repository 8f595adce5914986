//! Events about one invoice of one account, and what the main app sees of it.

use harness::stripe::{CheckoutSession, Event, Invoice};
use serde_json::{Value, json};

use super::Lab;

/// The account of these events.
pub const HOST: &str = "acct_host";

/// The one invoice.
pub fn invoice(status: &str, booking: Option<&str>) -> Value {
    Invoice {
        id: "in_1".into(),
        status: status.into(),
        booking: booking.map(str::to_owned),
        ..Invoice::default()
    }
    .value()
}

/// An event of the one account.
pub fn event(id: &str, kind: &str, object: Value) -> Event {
    Event::new(id, kind, object).of_account(HOST)
}

/// The one invoice is paid.
pub fn paid(id: &str, booking: &str) -> Event {
    event(id, "invoice.paid", invoice("paid", Some(booking)))
}

/// A session of booking 7.
pub fn session(invoice: Value) -> Value {
    let mut object = CheckoutSession::default().value();
    object["invoice"] = invoice;
    object["metadata"] = json!({ "dialoomBookingId": "7" });
    object["client_reference_id"] = Value::Null;
    object
}

/// Booking, invoice and status of the one row of `"Invoice"`.
pub async fn row(lab: &Lab) -> String {
    let rows = lab.invoices().await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0].splitn(4, ' ').take(3).collect::<Vec<_>>().join(" ")
}
