//! Keeps the main app's tables true to Stripe's events.
//!
//! One event's way: [`pipeline`] takes it from the queue, decides it with the crate
//! `domain` and keeps it with the crate `store`. [`dead_letters`] records what could not be
//! applied, [`replay`] sends it again, [`jobs`] run beside the queue, [`commands`] does what
//! the main app asks for. [`service`] starts them; [`cli`] is the command line.
//!
//! Arrows point one way: `cli` and `service` use `commands`, `jobs`, `replay`, `dead_letters`
//! and `pipeline`; `commands` use `jobs`; these use `amqp` and `stripe`, and the crates `store`
//! and `domain`.

pub mod amqp;
pub mod backoff;
pub mod cli;
pub mod commands;
pub mod config;
pub mod dead_letters;
pub mod health;
pub mod jobs;
pub mod metrics;
pub mod pipeline;
pub mod replay;
pub mod service;
pub mod stripe;
