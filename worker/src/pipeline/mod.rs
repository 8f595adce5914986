//! A delivery's way from the queue to its ack, one module a step:
//!
//! 1. [`consumer`] holds the session with the broker.
//! 2. [`batch`] decodes deliveries as they come ([`delivery`]) and hands out what is
//!    there as one batch. A delivery that came back to the queue several times is neither
//!    decoded before its turn nor part of a batch: [`suspects`] tries it with others that
//!    did, and [`alone`] handles it where that fails.
//! 3. [`executor`] sees that each delivery of a batch gets a decision: it waits while the
//!    database is away, and narrows a batch that fails down to one delivery. [`main_app`]
//!    says whether a batch may use the main app's tables, and
//!    [`unknown_errors`] when an event that fails alone is given up.
//! 4. [`process`] applies a batch in one transaction: [`admission`] tells which events are
//!    new, [`decision`] has them decided by the crate `domain`, [`storage`] saves what they
//!    changed ([`postgres`]).
//!
//! [`rebuild`] takes archived events by the same way once more.

mod acks;
pub mod admission;
pub mod alone;
pub mod batch;
pub mod consumer;
mod decision;
pub mod delivery;
pub mod executor;
pub mod late_refusals;
mod ledger_rows;
mod main_app;
mod postgres;
pub mod process;
pub mod rebuild;
mod recheck;
mod replay_outcomes;
pub mod storage;
mod suspects;
mod unknown_errors;
