//! The main app's tables: the two that it reads, `"Invoice"` and `"HostOnboarding"`, and
//! the one that it owns, `"Booking"`. All are found by the search path.

use domain::main_app::Obstacle;

pub mod booking;
pub mod host;
pub(crate) mod invoice;
pub mod read;
mod row;
mod tell;
pub mod write;

/// Which of the main app's tables are left alone for now, and why. What the main app does to one
/// of them must not hold up the rows of the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftAlone {
    /// `"Invoice"` and `"Booking"`.
    pub bookings: Option<Obstacle>,
    /// `"HostOnboarding"`.
    pub hosts: Option<Obstacle>,
}

impl LeftAlone {
    /// All of them.
    pub fn all(obstacle: Obstacle) -> Self {
        Self {
            bookings: Some(obstacle.clone()),
            hosts: Some(obstacle),
        }
    }
}

/// Which of the main app's tables cost more time than there is, so that nobody should use them
/// for a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blocked {
    /// `"Invoice"` and `"Booking"`.
    pub bookings: bool,
    /// `"HostOnboarding"`.
    pub hosts: bool,
}
