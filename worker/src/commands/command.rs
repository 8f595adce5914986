//! The commands, read strictly from what was sent.

use domain::{ids::BookingId, text_enum};
use serde_json::Value;

use super::{
    booking::{fields::Checkout, read_booking},
    error::CommandError,
    host::{components, onboard::Onboard},
    input::{self, Fields},
};

text_enum! {
    /// The names of the commands.
    pub enum Name {
        /// Makes a host's account, once, and answers a link to Stripe's form.
        HostOnboard = "host.onboard",
        /// Answers a secret for Stripe's embedded components.
        HostSession = "host.session",
        /// Answers the address of the host's dashboard.
        HostDashboard = "host.dashboard",
        /// Answers how far the host is.
        HostStatus = "host.status",
        /// Answers whether invoices can be issued in the host's name.
        HostInvoicing = "host.invoicing",
        /// Lists the host's invoices.
        HostInvoices = "host.invoices",
        /// Answers a session by which a guest pays for a booking.
        BookingCheckout = "booking.checkout",
        /// Ends the booking's open session.
        BookingCancel = "booking.cancel",
        /// Answers the booking's invoice, or why there is none.
        BookingInvoice = "booking.invoice",
    }
}

/// A command.
#[derive(Debug)]
pub enum Command {
    /// `host.onboard`
    HostOnboard(Box<Onboard>),
    /// `host.session`
    HostSession {
        /// The host.
        host: String,
        /// Stripe's names of the components.
        components: Vec<&'static str>,
    },
    /// `host.dashboard`
    HostDashboard {
        /// The host.
        host: String,
    },
    /// `host.status`
    HostStatus {
        /// The host.
        host: String,
    },
    /// `host.invoicing`
    HostInvoicing {
        /// The host.
        host: String,
    },
    /// `host.invoices`
    HostInvoices {
        /// The host.
        host: String,
        /// The invoice that the page before ended with.
        after: Option<String>,
    },
    /// `booking.checkout`
    BookingCheckout(Box<Checkout>),
    /// `booking.cancel`
    BookingCancel {
        /// The booking.
        booking: BookingId,
    },
    /// `booking.invoice`
    BookingInvoice {
        /// The booking.
        booking: BookingId,
    },
}

impl Name {
    /// Reads the name of a command.
    ///
    /// # Errors
    /// There is no such command.
    pub fn read(name: &str) -> Result<Self, CommandError> {
        Self::parse(name).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|name| name.as_str()).collect();
            let message = format!("there is no such command; there are {}", known.join(", "));
            CommandError::new("unknown_command", message)
        })
    }
}

impl Command {
    /// Reads a command of this name.
    ///
    /// # Errors
    /// The fields that are wrong, missing or unknown.
    pub fn read(name: Name, data: Value) -> Result<Self, CommandError> {
        let mut fields = Fields::new(data)?;
        let host = |fields: &mut Fields| fields.required("hostId", input::id);
        let command = match name {
            Name::HostOnboard => Self::HostOnboard(Box::new(Onboard::read(&mut fields))),
            Name::HostSession => Self::HostSession {
                host: host(&mut fields),
                components: fields.required("components", components),
            },
            Name::HostDashboard => Self::HostDashboard {
                host: host(&mut fields),
            },
            Name::HostStatus => Self::HostStatus {
                host: host(&mut fields),
            },
            Name::HostInvoicing => Self::HostInvoicing {
                host: host(&mut fields),
            },
            Name::HostInvoices => Self::HostInvoices {
                host: host(&mut fields),
                after: fields.optional("after", input::text),
            },
            Name::BookingCheckout => Self::BookingCheckout(Box::new(Checkout::read(&mut fields))),
            Name::BookingCancel => Self::BookingCancel {
                booking: read_booking(&mut fields),
            },
            Name::BookingInvoice => Self::BookingInvoice {
                booking: read_booking(&mut fields),
            },
        };
        fields.finish()?;
        Ok(command)
    }
}
