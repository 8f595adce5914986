//! The rules of invoices, sessions, bookings and accounts, as plain folds over
//! a whole set of events. Written apart from the worker's code: nothing is
//! merged, stored or compared with what came before.

mod claims;
mod events;
mod host;
mod invoices;
mod refunds;
mod sessions;

pub use self::{
    claims::{owners, refused},
    host::{Sign, SignKind, Values, host},
    invoices::{Kept, Shown, kept, major, shown},
    refunds::given_back,
    sessions::{SeenSession, sessions},
};

/// One event of an invoice or a session.
#[derive(Clone, Debug)]
pub struct Said {
    /// The event's id.
    pub id: String,
    /// When it happened, in seconds since 1970.
    pub created: i64,
    /// The account; blank for the platform.
    pub account: String,
    /// The booking that its object names.
    pub booking: Option<i32>,
    /// What it is about.
    pub what: What,
}

/// The object of an event.
#[derive(Clone, Debug)]
pub enum What {
    /// An invoice.
    Invoice {
        /// Its id.
        id: String,
        /// The event's type.
        kind: String,
        /// Its status at Stripe.
        status: Option<String>,
        /// Its total, in the currency's minor unit.
        total: i64,
        /// Its currency.
        currency: String,
        /// When Stripe made it, in seconds since 1970.
        made: i64,
        /// Address of its PDF.
        pdf: Option<String>,
    },
    /// A Checkout Session.
    Session {
        /// Its id.
        id: String,
        /// The invoice that it names.
        invoice: Option<String>,
        /// Its payment status.
        payment: Option<&'static str>,
        /// Its status.
        status: Option<&'static str>,
        /// Its payment intent.
        intent: Option<String>,
        /// Whether it is not Stripe that says so, but the command that made the session.
        is_told: bool,
    },
    /// A charge of which something was refunded.
    Charge {
        /// Its id.
        id: String,
        /// How much was refunded, in the currency's minor unit.
        refunded: i64,
        /// Its payment intent.
        intent: Option<String>,
        /// Its invoice, as old versions say it.
        invoice: Option<String>,
    },
    /// A credit note.
    Note {
        /// Its id.
        id: String,
        /// Its total, in the currency's minor unit.
        total: i64,
        /// Whether it is void.
        is_void: bool,
        /// Its invoice.
        invoice: Option<String>,
    },
}
