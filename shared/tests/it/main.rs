//! The parts that both services share, against real sockets and a real broker.
//!
//! One program holds all of it: every test program links the crate and its
//! dependencies anew.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod admin;
mod connect;
mod documents;
mod panics;
mod tls;
mod topology;
