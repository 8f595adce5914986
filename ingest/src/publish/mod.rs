//! Publishes events to the broker. An event counts as published once the broker
//! has confirmed that it is on a queue, and not before.
//!
//! The [`supervisor`] keeps one AMQP connection open, as the [`current_connection`].
//! The [`publisher`] takes it from there and publishes over its [`confirm_channel`].
//! The [`topology_monitor`] declares exchanges and queues again that were deleted.

mod broker_connection;
mod confirm_channel;
mod current_connection;
mod metrics;
mod outcome;
mod publisher;
mod supervisor;
mod topology_monitor;

pub use metrics::PublishMetrics;
pub use outcome::Outcome;
pub use publisher::Publisher;
pub use supervisor::{StartError, Supervisor};
