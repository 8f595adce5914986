//! The words that both services speak: the event's envelope, the broker's
//! topology, the encoding of an event as a message, and the few things that
//! every process needs (configuration, clock, logs, shutdown, admin listener).
//!
//! It knows neither SQL nor any Stripe object beyond the envelope.

pub mod admin;
pub mod amqp;
pub mod clock;
pub mod config;
pub mod envelope;
pub mod message;
pub mod mode;
pub mod shutdown;
pub mod telemetry;
pub mod topology;
