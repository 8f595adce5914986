//! The main app's tables: the two that it reads, `"Invoice"` and `"HostOnboarding"`, and
//! the one that it owns, `"Booking"`. All are found by the search path.

pub mod booking;
mod host;
pub(crate) mod invoice;
pub mod read;
mod row;
mod tell;
pub mod write;
