//! Events of invoices that were paid.

use harness::stripe::{Event, Invoice};

/// An invoice of its own for a booking is paid.
pub fn paid(id: &str, booking: &str) -> Event {
    let object = Invoice {
        id: format!("in_{id}"),
        booking: Some(booking.into()),
        ..Invoice::default()
    };
    Event::new(&format!("evt_{id}"), "invoice.paid", object.value()).of_account("acct_a")
}

/// One of many such events: each is of a booking of its own, from 1 on.
pub fn nth_paid(index: usize) -> Event {
    paid(&index.to_string(), &(index + 1).to_string())
}
