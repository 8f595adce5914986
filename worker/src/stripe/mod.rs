//! Stripe's API, which is asked only where events cannot tell.

pub mod client;
