//! What both services need besides the event itself (crate `event`): the
//! broker's topology, the encoding of an event as a message, configuration, clock,
//! logs, shutdown and the admin listener.
//!
//! It knows neither SQL nor any Stripe object.

pub mod admin;
pub mod amqp;
pub mod clock;
pub mod config;
pub mod message;
pub mod shutdown;
pub mod telemetry;
pub mod topology;
