//! What a deployment decides about the reading of events.

use ::event::Mode;

/// What decoding depends on, fixed for a deployment.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The mode of this deployment.
    pub mode: Mode,
    /// The metadata key that names the booking.
    pub booking_key: String,
    /// Whether a session's `client_reference_id` may name the booking.
    pub client_reference: bool,
    /// The platform's own application, `ca_...`, where invoices of others are to name no
    /// booking.
    pub application: Option<String>,
}
