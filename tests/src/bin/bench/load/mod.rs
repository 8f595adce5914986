//! The load generator.

mod client;
pub(crate) mod closed;
pub(crate) mod open;
mod requests;
pub(crate) mod watch;
