//! The load generator.

pub(crate) mod closed;
pub(crate) mod open;
mod requests;
pub(crate) mod watch;
