//! Why an event cannot be applied.

use std::fmt;

use crate::ids::{AccountId, BookingId, ObjectId};

/// A permanent reason: the event goes to the dead letters, and trying again
/// without a change of data or code would end the same.
///
/// No variant carries text out of the event's body: the reason is logged and
/// shown to operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The body is not an event, or not JSON as deep as we read it.
    UnreadableEvent {
        /// What is wrong, without the body's contents.
        why: String,
    },
    /// `data.object` is not the object that the event's type promises.
    UnreadableObject {
        /// The column in the body where reading stopped.
        column: usize,
    },
    /// `data.object.object` names another kind of object.
    OtherObject {
        /// The kind that the event's type promises.
        expected: &'static str,
    },
    /// A text that we must keep holds NUL, which Postgres text cannot.
    NulInText {
        /// The field, as a path in the event.
        field: &'static str,
    },
    /// A text that we must keep is longer than its limit.
    TextTooLong {
        /// The field, as a path in the event.
        field: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// The booking's id in the metadata is not a positive 32-bit integer.
    InvalidBookingId,
    /// A status that this version of the worker does not know.
    UnknownStatus {
        /// The field, as a path in the event.
        field: &'static str,
    },
    /// A time is before 1970 or after 9999.
    TimeOutOfRange {
        /// The field, as a path in the event.
        field: &'static str,
    },
    /// The event needs an account and names none.
    MissingAccount,
    /// The object is of another account than the event.
    AccountMismatch,
    /// The booking belongs to another account.
    BookingClaimedByOtherAccount {
        /// The booking.
        booking: BookingId,
        /// Who has it, where that is known.
        holder: Option<Holder>,
    },
    /// Postgres refused the event's values.
    RefusedByDatabase {
        /// The rule in words.
        rule: &'static str,
    },
    /// Whoever handles the event alone dies of it, or panics.
    CrashesWorker,
}

/// Who has a booking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The account; blank for the platform.
    pub account: AccountId,
    /// The object by which the account first named the booking; `None` where it named none,
    /// and the deployment's query says that the booking is its.
    pub object: Option<ObjectId>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.account.as_str() {
            "" => f.write_str("the platform")?,
            account => write!(f, "the account {account}")?,
        }
        match &self.object {
            Some(object) => write!(f, ", which named it first in {}", object.as_str()),
            None => Ok(()),
        }
    }
}

/// The code of [`Rejection::BookingClaimedByOtherAccount`], and why the invoice of
/// such an event waits.
pub const CLAIMED_BY_OTHER_ACCOUNT: &str = "booking_claimed_by_other_account";

impl Rejection {
    /// The reason code, as operators filter by it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnreadableEvent { .. } => "unreadable_event",
            Self::UnreadableObject { .. } => "unreadable_object",
            Self::OtherObject { .. } => "other_object",
            Self::NulInText { .. } => "nul_in_text",
            Self::TextTooLong { .. } => "text_too_long",
            Self::InvalidBookingId => "invalid_booking_id",
            Self::UnknownStatus { .. } => "unknown_status",
            Self::TimeOutOfRange { .. } => "time_out_of_range",
            Self::MissingAccount => "missing_account",
            Self::AccountMismatch => "account_mismatch",
            Self::BookingClaimedByOtherAccount { .. } => CLAIMED_BY_OTHER_ACCOUNT,
            Self::RefusedByDatabase { .. } => "refused_by_database",
            Self::CrashesWorker => "crashes_worker",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnreadableEvent { why } => {
                write!(f, "The body is not a Stripe event: {why}.")
            }
            Self::UnreadableObject { column } => write!(
                f,
                "data.object is not what the event's type promises (column {column})."
            ),
            Self::OtherObject { expected } => {
                write!(f, "data.object is not of the kind \"{expected}\".")
            }
            Self::NulInText { field } => {
                write!(
                    f,
                    "{field} holds a NUL character, which Postgres cannot keep."
                )
            }
            Self::TextTooLong { field, limit } => {
                write!(f, "{field} is longer than {limit} bytes.")
            }
            Self::InvalidBookingId => {
                write!(
                    f,
                    "The booking id in the metadata is not a positive integer."
                )
            }
            Self::UnknownStatus { field } => {
                write!(f, "{field} has a value that this version does not know.")
            }
            Self::TimeOutOfRange { field } => {
                write!(f, "{field} is not a time between 1970 and 9999.")
            }
            Self::MissingAccount => write!(f, "The event names no account."),
            Self::AccountMismatch => {
                write!(f, "The object is of another account than the event.")
            }
            Self::BookingClaimedByOtherAccount { booking, holder } => match holder {
                None => write!(f, "Booking {booking} belongs to another account."),
                Some(holder) => write!(f, "Booking {booking} belongs to {holder}."),
            },
            Self::RefusedByDatabase { rule } => {
                write!(f, "Postgres refused a value of the event: {rule}.")
            }
            Self::CrashesWorker => f.write_str(
                "Each time that a worker handled the event alone, its process died or its \
                 handler panicked.",
            ),
        }
    }
}
