//! PostgreSQL: every statement that the worker sends. It knows no Stripe JSON.
//!
//! Functions take the connection first. Those that read take it shared, so that a
//! caller can send several statements at once. Those that write what events decide take
//! a [`WriteTx`]. All of them fail with an [`Error`], as Postgres says; other failures
//! are named where they occur.
//!
//! The tables of the schema `stripe` have a module each, and one more for what operators
//! ask of it; the main app's tables are in [`main_app`].

pub mod account;
pub mod account_transition;
pub mod api_read;
pub mod archive;
pub mod archive_page;
pub mod backlog;
mod booking_claim;
pub mod booking_query;
mod charge;
mod checkout_session;
pub mod command;
pub mod crash_note;
mod credit_note;
pub mod database;
mod database_url;
pub mod dead_letter;
pub mod dead_letter_query;
pub mod deployment;
pub mod erasure;
mod error;
pub mod event;
pub mod event_query;
mod invoice;
pub mod invoice_query;
pub mod job_lock;
pub mod late_outcome;
pub mod lock_holders;
pub mod main_app;
pub mod migrations;
pub mod operator_query;
pub mod outbox;
mod outbox_refund;
pub mod paging;
pub mod pending_projection;
pub mod pooler;
pub mod rebuild;
mod record;
mod refunds;
pub mod replay;
pub mod replay_item;
pub mod retention;
pub mod row_security;
pub mod savepoint;
mod schema;
pub mod schema_check;
pub mod session;
mod statement;
mod tls;
mod tls_unverified;
pub mod url_error;
pub mod waiting;
pub mod working_set;
mod write_tx;

pub use database::Database;
pub use error::{ConnectError, Error, in_log};
pub use write_tx::{Transaction, WriteTx, transaction, write};

/// A connection to the database.
pub type Connection = diesel_async::AsyncPgConnection;
/// A pool of connections.
pub type Pool = diesel_async::pooled_connection::bb8::Pool<Connection>;
/// What a function of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;
