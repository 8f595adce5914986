//! Keeps the main app's tables true to Stripe's events.
//!
//! One event's way: [`consume`] takes it from the queue, [`settle`] sees that it
//! gets a verdict, [`process`] takes a set of events in one transaction,
//! [`events`] decides, [`store`] reads and writes, and [`consume`] acks, by way
//! of [`dead`] where the event could not be applied.

pub use domain as events;
pub use store::{self, archive_page as keep, error as failure};

pub mod backoff;
pub mod burial;
pub mod commands;
pub mod consume;
pub mod dead;
pub mod gather;
mod hands;
pub mod health;
pub mod metrics;
pub mod origin;
pub mod process;
pub mod properties;
pub mod prune;
mod rejudge;
pub mod replay;
pub mod reread;
pub mod run;
pub mod settings;
pub mod settle;
pub mod stripe_api;
pub mod ticket;
pub mod waiting;
