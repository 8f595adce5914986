//! Keeps the main app's tables true to Stripe's events.
//!
//! One event's way: [`pipeline`] takes it from the queue, decides it with the crate
//! `domain` and keeps it with the crate `store`, with a dead letter where it cannot be applied.
//! [`dead_letters`] records the messages that the broker gave up, [`replay`] sends events
//! again, [`jobs`] run beside the queue, [`commands`] does what the main app asks for.
//! [`service`] starts them; [`cli`] is the command line.
//!
//! Arrows point one way: `cli` uses `service`, `jobs`, `replay`, `dead_letters` and `pipeline`;
//! `service` starts `commands` and all of these; `commands` use `jobs` and `pipeline`; these use
//! `amqp` and `stripe`, and the crates `store` and `domain`.

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
