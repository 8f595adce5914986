//! What is read of the main app's tables, and what has to be written to them.
//!
//! The main app can lock its tables, refuse a row, or not have a booking yet. Nothing of
//! that is known here but as data: what Stripe says is merged all the same, and what could
//! not be read or written is a pending projection, which a job tries again.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    ids::{AccountId, BookingId, InvoiceId},
    news::BookingNews,
    ownership::Owner,
    rows::{HostRow, InvoiceRow},
    text_enum,
};

text_enum! {
    /// What is in the way of a projection, as a code.
    pub enum ObstacleReason {
        /// Somebody holds a lock of the row or of the table.
        Locked = "locked",
        /// A foreign key: a row of the main app refers to the row, or is not there.
        ForeignKey = "foreign_key",
        /// A check constraint.
        Check = "check",
        /// A column that may not be null.
        NotNull = "not_null",
        /// A unique index.
        Unique = "unique",
        /// A policy of row-level security.
        RowLevelSecurity = "row_level_security",
        /// The worker's role lacks a right.
        Permission = "permission_denied",
        /// Postgres ends the session that reads or writes the row.
        SessionEnded = "session_ended",
        /// Anything else that Postgres says, such as the exception of a trigger.
        Refused = "refused",
        /// Others in the same transaction took all the time that there was.
        NotTried = "not_tried",
    }
}

/// The longest text of an obstacle that is kept, in bytes.
const MAX_DETAIL: usize = 500;

/// What is in the way of a projection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The kind.
    pub reason: ObstacleReason,
    /// The constraint, where Postgres names one.
    pub constraint: Option<String>,
    /// What Postgres said, with the constraint and the table where it names them. It can hold
    /// the words of a trigger of the main app's, so it is not logged.
    pub detail: String,
}

impl Obstacle {
    /// An obstacle of no constraint. The text is cut where it is too long.
    pub fn new(reason: ObstacleReason, detail: &str) -> Self {
        let end = detail.floor_char_boundary(MAX_DETAIL);
        Self {
            reason,
            constraint: None,
            detail: detail[..end].replace('\0', ""),
        }
    }
}

/// A row of the main app's that shows something of Stripe's: it is projected whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The row of `"Invoice"` of this booking.
    Booking(BookingId),
    /// The row of `"HostOnboarding"` of this account.
    Host(AccountId),
}

impl Target {
    const BOOKING: &str = "booking";
    const HOST: &str = "host";
    /// The kinds, as codes.
    pub const KINDS: [&str; 2] = [Self::BOOKING, Self::HOST];

    /// Which kind of row it is, as a code.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Booking(_) => Self::BOOKING,
            Self::Host(_) => Self::HOST,
        }
    }

    /// The id of the booking or of the account.
    pub fn id(&self) -> String {
        match self {
            Self::Booking(id) => id.to_string(),
            Self::Host(id) => id.to_string(),
        }
    }

    /// The target of this kind with this id; `None` for a kind of a later release.
    pub fn parse(kind: &str, id: &str) -> Option<Self> {
        match kind {
            Self::BOOKING => Some(Self::Booking(BookingId(id.parse().ok()?))),
            Self::HOST => Some(Self::Host(id.into())),
            _ => None,
        }
    }
}

/// Whether a projection is noted as pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pending {
    /// It is not.
    #[default]
    No,
    /// It is, and may be tried now.
    Due,
    /// It is, and its job tries it later. A batch of events does not: an obstacle costs
    /// everybody a wait, and a host can send any number of events about one row.
    Later,
}

/// What the main app's tables say of one booking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppBooking {
    /// Whether the main app has the booking.
    pub exists: bool,
    /// Whose it is by the deployment's own query, where there is one.
    pub configured_owner: Option<Owner>,
    /// The row of `"Invoice"` that the main app reads now.
    pub row: Option<InvoiceRow>,
    /// Why none of this could be read.
    pub obstacle: Option<Obstacle>,
}

/// What has to change in the main app's tables. A booking's row may pass from one invoice
/// to another, never between bookings, so these do not depend on each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppChanges {
    /// Rows of bookings that have none.
    pub insert: Vec<InvoiceRow>,
    /// Rows of bookings that have one.
    pub update: Vec<InvoiceRow>,
    /// Bookings that have no invoice any more, each with the invoice that its row shows.
    pub delete: Vec<(BookingId, InvoiceId)>,
    /// Rows of hosts.
    pub hosts: Vec<HostRow>,
    /// Bookings that could not be read, each with an invoice that names it, where there
    /// is one.
    pub unreadable: Vec<(BookingId, Option<InvoiceId>, Obstacle)>,
    /// Projections that were pending and are computed anew: what is not refused again is
    /// pending no more.
    pub was_pending: BTreeSet<Target>,
    /// The news of bookings; `None` where the main app is told nothing, also not of hosts.
    pub news: Option<BTreeMap<BookingId, BookingNews>>,
}
