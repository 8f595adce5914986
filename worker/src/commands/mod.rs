//! The main app's commands: it sends one as a message, and gets an answer as a message.
//!
//! | module | does |
//! | --- | --- |
//! | [`consumer`] | takes commands from their queue and answers them |
//! | `replies` | sends the answers |
//! | [`wire`] | the forms in which commands come and answers go |
//! | [`command`] | the commands, read strictly from what was sent |
//! | [`json`] | reads JSON in which no field is named twice |
//! | [`input`] | reads fields one by one, and names all that are wrong |
//! | `dispatch` | gives each command to its handler |
//! | [`service`] | what commands are done with |
//! | `attempts` | has Stripe make something once |
//! | [`telling`] | has what Stripe answered taken in |
//! | `batcher` | does together what many ask for meanwhile |
//! | [`finish`] | goes on with what interrupted commands began |
//! | [`end_paid_checkouts`] | ends sessions by which a guest could pay a second time |
//! | [`host`] | the commands about hosts |
//! | [`booking`] | the commands about bookings |
//! | [`error`] | why a command was not done, as the app reads it |
//!
//! Commands run beside the events: they have a consumer, a channel and connections to the
//! database of their own, and hold no lock while Stripe is asked.

mod attempts;
mod batcher;
pub mod booking;
pub mod command;
pub mod consumer;
mod dispatch;
pub mod end_paid_checkouts;
pub mod error;
pub mod finish;
pub mod host;
pub mod input;
pub mod json;
mod replies;
pub mod service;
pub mod telling;
pub mod wire;
