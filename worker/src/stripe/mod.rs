//! Stripe's API: one client for both of its versions, and one file for each family of
//! endpoints.

pub mod accounts;
pub mod call;
pub mod checkout;
pub mod client;
pub mod config;
pub mod error;
mod limits;
pub mod links;
mod list;
mod retry;
pub mod tax;
