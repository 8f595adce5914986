//! The tests of the service: over HTTP in front of a broker, of the binary, and
//! of the signature check.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail"
)]

mod broker;
mod configuration;
mod intake;
mod outage;
mod refusals;
mod shutdown;
mod signature;
mod support;
mod vectors;
