//! Breaks a running deployment while events flow through it, and checks
//! afterwards that nothing was lost, doubled or wrong.
//!
//! | module | does |
//! | --- | --- |
//! | [`world`] | the events, from a seed |
//! | [`sender`] | delivers them as Stripe does |
//! | [`stage`] | the servers and services that are broken |
//! | [`fault`], [`attack`] | what can be broken, and who attacks |
//! | [`run`](mod@run) | one run: events flow, faults strike, all drains |
//! | [`bookings`] | one run in which bookings are sold by message |
//! | [`striking`], [`watch`] | the strikes, and what is looked at meanwhile |
//! | [`oracle`] | what must be true afterwards, computed apart from the services |
//! | [`tally`], [`measured`], [`report`] | what is counted, and how it is told |

pub mod attack;
mod bookings;
mod disk;
pub mod fault;
mod measured;
pub mod oracle;
pub mod report;
pub mod run;
pub mod sender;
pub mod stage;
mod story;
mod strike;
mod striking;
pub mod tally;
mod watch;
pub mod world;

pub use self::{
    attack::Attack,
    fault::Fault,
    report::Outcome,
    run::{Load, Plan, run},
    sender::Clock,
};
