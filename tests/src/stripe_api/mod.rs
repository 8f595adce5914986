//! A stand-in for Stripe's API: what it is told stays, and what changes is told
//! by webhooks.
//!
//! It answers on a free port of the loopback interface, takes the parameters that
//! Stripe's own type definitions name (`parameters.json`, which `tests/types`
//! makes) and refuses what Stripe refuses. A test breaks it with a [`Fault`],
//! looks at what arrived with [`StandIn::requests`], and changes what it holds as
//! a host or a guest would.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use harness::stripe_api::{Fault, Kind, Options, Order, Payment, StandIn};
//!
//! let api = StandIn::start(Options::default()).await?;
//! api.fault(Fault::post("/v1/accounts", Kind::Status500 { took_effect: true }));
//! // ... the worker is given `api.base_url()`, and makes an account and a session ...
//! let account = api.accounts()[0]["id"].as_str().unwrap().to_owned();
//! api.finish_onboarding(&account);
//! api.pay("cs_test_1", Payment::Card)?;
//! api.deliver("http://127.0.0.1:8080", "whsec_secret", Order::ShuffledTwice(7)).await?;
//! # Ok(())
//! # }
//! ```

mod accounts;
mod call;
mod checkout;
mod deliveries;
mod errors;
mod events;
mod faults;
mod form;
mod handle;
mod idempotency;
mod links;
mod options;
mod pages;
mod parameters;
mod payments;
mod recorded;
mod respond;
mod rights;
mod routes;
mod server;
mod state;
mod tax;
mod versions;

#[cfg(test)]
mod tests;

pub use self::{
    checkout::Payment,
    deliveries::Order,
    events::QueuedEvent,
    faults::{Fault, Gate, Kind, RateLimit},
    options::{Options, RestrictedKey},
    recorded::Recorded,
    server::StandIn,
};
