//! Sending events again: dead letters, and events whose bytes are archived.
//!
//! A replay publishes the stored bytes and properties to the exchange of events. The
//! events go their usual way through the pipeline; nothing else writes their effects.

pub mod original_message;
pub mod run;
