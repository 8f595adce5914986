//! Receives Stripe's webhooks. A request is answered with 200 only after the
//! broker has confirmed its event.
//!
//! The modules use each other in one direction:
//!
//! ```text
//! main -> service -> server -> webhook -> publish -> signature, body
//!                      |          |
//!                      |          +-> signature, body, traceparent
//!                      +-> connection_limit
//! ```
//!
//! [`config`] and [`limits`] are the parameters of the service. [`metrics`]
//! registers the metrics that [`server`], [`webhook`] and [`publish`] own.
//! `docs/ARCHITECTURE.md` follows one event through the modules.

mod body;
pub mod config;
mod connection_limit;
pub mod limits;
mod metric_types;
pub mod metrics;
pub mod publish;
pub mod server;
mod service;
pub mod signature;
mod traceparent;
pub mod webhook;

pub use service::{Listeners, run};
