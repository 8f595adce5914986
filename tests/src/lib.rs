//! Starts the servers and the services that tests and `make` need, and makes
//! the sample events they are fed with.
//!
//! | module | does |
//! | --- | --- |
//! | [`servers`] | private PostgreSQL and RabbitMQ servers: start, kill, start again, stop |
//! | [`services`] | the `ingest` and `worker` binaries as processes |
//! | [`test_servers`] | a database and a broker prefix of its own for every test |
//! | [`stripe`] | signed sample events after Stripe's shapes |
//! | [`stripe_api`] | a stand-in for Stripe's API, with webhook deliveries of its own |
//! | [`leaks`] | looks through the services' logs for what must not stand there |
//! | [`reference`](mod@reference) | the rules that the rows must follow, as plain folds over events |
//! | [`private`] | folders that go with their process, and all that runs in them |
//! | [`certificates`] | a private authority, for servers that speak TLS |
//! | [`nest`] | a NestJS app of the document's code, with npm's packages |
//! | [`broker_rights`] | the broker's users of the documents |
//! | [`hosts`] | hosts whose accounts are there without a command |
//! | [`caller`] | a client that sends commands over the broker |
//! | [`news`] | a client that hears the news for the main app |
//! | [`npm`] | packages of npm, and a Node.js that is new enough for them |
//! | [`http`], [`client`] | post an event to `ingest` over loopback: simply, and fast |
//! | [`faults`] | breaks everything while events flow, and checks that nothing is lost |
//! | [`schedules`] | every schedule of a few tasks on one thread |
//! | [`process`], [`wait`], [`ports`], [`random`], [`checkout`] | what those are made of |
//!
//! The binary `stack` of this package is what the `Makefile` calls.
// The samples are large JSON literals.
#![recursion_limit = "256"]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "test support stands where `main` stands: it reads the environment and the clock, and fails loudly"
)]

pub mod broker_rights;
pub mod caller;
pub mod certificates;
pub mod checkout;
pub mod client;
pub mod faults;
pub mod hosts;
pub mod http;
pub mod leaks;
pub mod nest;
pub mod news;
pub mod npm;
pub mod ports;
pub mod private;
pub mod process;
pub mod proxy;
pub mod random;
pub mod reference;
pub mod schedules;
pub mod servers;
pub mod services;
pub mod stripe;
pub mod stripe_api;
pub mod test_servers;
pub mod wait;

/// For tests that talk to Postgres themselves: only the harness and the store link it.
pub use tokio_postgres;
