//! Sample events of our own making, after the shapes that Stripe sends.
//!
//! A builder gives a plain [`serde_json::Value`], in which a test changes what
//! it is about:
//!
//! ```
//! use harness::stripe::{ApiVersion, Event, Invoice, sign};
//!
//! let mut invoice = Invoice { id: "in_7".into(), booking: None, ..Invoice::default() }.value();
//! invoice["total"] = 1200.into();
//! let event = Event::new("evt_1", "invoice.paid", invoice).of_account("acct_1Host");
//! let body = event.bytes();
//! let header = sign("whsec_secret", 1_760_000_000, &body);
//! assert!(header.starts_with("t=1760000000,v1="));
//! ```

mod account;
mod application;
mod charge;
mod checkout_session;
mod credit_note;
mod event;
mod invoice;
mod signature;
mod version;

pub use self::{
    account::Account,
    application::application,
    charge::Charge,
    checkout_session::CheckoutSession,
    credit_note::CreditNote,
    event::{Event, text_time, thin_event},
    invoice::Invoice,
    signature::{now, sign},
    version::ApiVersion,
};

/// The time of the samples, in seconds since 1970: 2025-10-09 08:53:20 UTC.
pub const SAMPLE_TIME: i64 = 1_760_000_000;
