//! The worker's integration tests: on real PostgreSQL and RabbitMQ, each on a database and
//! a prefix of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test fails by panicking, and may print a figure"
)]

mod prisma;
mod projection;
mod support;

mod accounts;
mod ack_timeout;
mod adopt;
mod batches;
mod bookings;
mod cancels;
mod checkouts;
mod claims;
mod command_queue;
mod config;
mod connections;
mod crashes;
mod dead_letters;
mod deployment;
mod forget;
mod gauges;
mod host_accounts;
mod host_commands;
mod host_invoices;
mod hostile;
mod hostile_answers;
mod hostile_commands;
mod hostile_hosts;
mod invoice_words;
mod invoices;
mod late_claims;
mod late_outcomes;
mod locked_rows;
mod log_lines;
mod made_by_app;
mod migrations;
mod mistakes;
mod model;
mod newly_handled;
mod operators;
mod operators_at_scale;
mod order;
mod out_of_reach;
mod outbox;
mod paid_otherwise;
mod plans;
mod poison;
mod poolers;
mod publish_changes;
mod queue;
mod queue_outage;
mod read_accounts;
mod readiness;
mod reading;
mod rebuild;
mod recorder;
mod refund_news;
mod refunds;
mod refunds_seen;
mod refused_commits;
mod replay;
mod roles;
mod row_security;
mod sessions;
mod start;
mod stripe_rates;
mod tables;
mod telling;
mod tls;
mod unknown_errors;
mod unwanted;
mod upgrade;
mod upgrade_hosts;
