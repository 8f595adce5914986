//! What a deployment decides about the reading of events.

use ::event::Mode;

/// The metadata's key under which an account or a Checkout Session that a command made names the
/// attempt that made it, which tells it from another one of the same host or booking.
pub const ATTEMPT_KEY: &str = "commandAttempt";

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
