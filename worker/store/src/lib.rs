//! Postgres: every statement that the worker sends. It knows no Stripe JSON.
//!
//! Functions take the connection first. Those that read take it shared, so that
//! a caller can send several at once; transactions are begun by the caller.

pub mod account;
pub mod adopt;
pub mod app;
pub mod archive_page;
pub mod burial;
pub mod claim;
pub mod connect;
pub mod dead_letter;
pub mod error;
pub mod history;
pub mod invoice;
pub mod kept;
pub mod ledger;
pub mod migrate;
pub mod overview;
pub mod page;
pub mod replay;
pub mod replay_run;
pub mod retention;
pub mod schema;
pub mod session;
mod statement;
pub mod stored;
mod tls;
pub mod transaction;
mod unverified;
