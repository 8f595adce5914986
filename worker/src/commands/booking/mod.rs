//! The commands about bookings.

mod accounts;
mod cancel;
mod cancels;
mod checkout;
pub(super) mod current;
pub mod fields;
mod invoice;
mod listing;
mod made_by_app;
pub(super) mod paid;
mod request;
pub(super) mod session;
mod told;

use domain::{decode, ids::BookingId};
use serde_json::Value;

use super::input::{self, Fields};

/// Takes the field `bookingId`: a whole number, or a text of its digits.
pub fn read_booking(fields: &mut Fields) -> BookingId {
    let id = fields.required("bookingId", |value| booking_id(value).map(Some));
    // Where it is missing or wrong, the reading ends in an error.
    id.unwrap_or(BookingId(0))
}

fn booking_id(value: Value) -> Result<BookingId, String> {
    let text = input::id(value)?;
    decode::booking_id(&text)
        .map_err(|_| "is no booking's id: a whole number from 1 to 2147483647".into())
}

/// The key under which a booking's session is made.
pub(super) fn key(booking: BookingId) -> String {
    format!("booking.checkout:{booking}")
}

/// The booking of a session's key.
pub(super) fn booking_of_key(key: &str) -> Option<BookingId> {
    let id = key.strip_prefix("booking.checkout:")?;
    decode::booking_id(id).ok()
}

/// The key under which it is noted that a booking was canceled.
fn cancel_key(booking: BookingId) -> String {
    format!("booking.cancel:{booking}")
}
