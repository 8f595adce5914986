//! The rules: what Stripe's events say, and what follows from it.
//!
//! One event passes through these modules from top to bottom:
//!
//! 1. Decoding. [`event`] decodes it, its [`header`] first, by the [`rules`] of the deployment and
//!    with the helpers of [`decode`] and the types of [`ids`]. Its object is decoded by
//!    [`invoice`], [`checkout_session`], [`account`] with [`account_snapshot`], [`charge`] or
//!    [`credit_note`]. What cannot be decoded has a [`rejection`].
//! 2. Loading. [`working_set`] loads what the event touches from a [`source`], and keeps it by kind
//!    in [`objects`].
//! 3. Merging. [`merge`] says which of two events speaks last, and [`connections`] through which
//!    applications an account is connected. [`by_claim`] keeps the state of an object apart by
//!    claim.
//! 4. Ownership. [`ownership`] says what a claim is, and [`holders`] who has a booking by it.
//!    [`refunds`] says which charges and credit notes are of which invoice, in the terms of
//!    [`given_back`].
//! 5. Projection. [`projection`] computes the [`rows`] that the main app reads, with
//!    [`onboarding`] and [`money`], out of what [`main_app`] says of the main app's tables.
//!    [`changes`] collects the rows to save, and [`news`] what the main app is told of them.
//! 6. Outcome. [`outcome`] decides what becomes of the event, and [`reclassify`] what becomes of
//!    earlier ones. [`history`] keeps a host's transitions.
//!
//! Beside that way: [`price`] says what a guest can be charged, [`invoicing`] whether Stripe can
//! issue invoices in a host's name, and [`host_words`] and [`invoice_words`] how things are with
//! a host or an invoice, in sentences for people.
//!
//! Nothing here does I/O, reads a clock or writes a log: the crate links nothing that
//! could.
//!
//! To add an event type of a known object, add its line to [`EventType`](::event::EventType).
//! To add an object, add a module with what an event says of it and how that is merged,
//! a variant of [`event::EventData`], a field of [`working_set::WorkingSet`] and of its [`source`], and follow
//! the compiler.

pub mod account;
pub mod account_snapshot;
mod booking_news;
pub mod by_claim;
pub mod changes;
pub mod charge;
pub mod checkout_session;
pub mod connections;
pub mod credit_note;
pub mod decode;
pub mod event;
pub mod given_back;
pub mod header;
pub mod history;
pub mod holders;
pub mod host_words;
pub mod ids;
pub mod invoice;
pub mod invoice_words;
pub mod invoicing;
pub mod main_app;
pub mod merge;
pub mod money;
pub mod news;
pub mod objects;
pub mod onboarding;
pub mod outcome;
pub mod ownership;
pub mod price;
pub mod projection;
pub mod reclassify;
pub mod refunds;
pub mod rejection;
pub mod rows;
pub mod rules;
pub mod source;
mod text_enum;
pub mod working_set;

#[cfg(test)]
mod tests;
