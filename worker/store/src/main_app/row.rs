//! One row of the main app's, as it is written and told of.

use domain::{
    ids::{BookingId, InvoiceId},
    main_app::{Obstacle, Target},
    news::Refund,
    rows::{HostRow, InvoiceRow},
};

use crate::pending_projection::Failed;

/// One row to write, or to tell of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Row<'a> {
    Insert(&'a InvoiceRow),
    Update(&'a InvoiceRow),
    Delete(BookingId, &'a InvoiceId),
    Host(&'a HostRow),
    /// The row stays as it is; what was given back of its invoice may be news.
    Unchanged(BookingId, &'a Refund),
}

impl Row<'_> {
    pub(super) fn target(self) -> Target {
        match self {
            Self::Insert(row) | Self::Update(row) => Target::Booking(row.booking_id),
            Self::Delete(booking, _) | Self::Unchanged(booking, _) => Target::Booking(booking),
            Self::Host(host) => Target::Host(host.account.clone()),
        }
    }

    pub(super) fn booking(self) -> Option<BookingId> {
        match self {
            Self::Insert(row) | Self::Update(row) => Some(row.booking_id),
            Self::Delete(booking, _) | Self::Unchanged(booking, _) => Some(booking),
            Self::Host(_) => None,
        }
    }

    pub(super) fn failed(self, obstacle: Obstacle) -> Failed {
        let object = match self {
            Self::Insert(row) | Self::Update(row) => row.stripe_invoice_id.as_str(),
            Self::Delete(_, invoice) => invoice.as_str(),
            Self::Host(host) => host.account.as_str(),
            Self::Unchanged(_, refund) => refund.invoice.as_str(),
        };
        Failed {
            target: self.target(),
            object: Some(object.to_owned()),
            obstacle,
        }
    }
}
