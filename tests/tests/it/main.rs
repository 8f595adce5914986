//! What the harness promises, and what both services do together, as real
//! processes with real servers.
//!
//! One program holds all of it: every test program links the harness and its
//! dependencies anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod broker_upgrade;
mod cluster;
mod command_kills;
mod commands_apart;
mod compose;
mod damage;
mod dependencies;
mod faults;
mod images;
mod kill;
mod layering;
mod leaks;
mod nest;
mod nest_app;
mod nest_booking;
mod nest_demo;
mod nest_news;
mod read_only;
mod rights;
mod samples;
mod secret_roll;
mod servers;
mod services;
mod side_by_side;
mod stack;
mod story;
mod stripe_npm;
mod stripe_types;
mod support;
mod test_servers;
