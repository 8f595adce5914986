//! How a publish can end.

use crate::metric_types::Label;

/// How a publish ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The broker confirmed that the message is on at least one queue.
    Confirmed,
    /// The broker returned the message before it confirmed it: no queue is bound
    /// to its type. Or the worker handles its type, and the worker's queue is
    /// known to be missing.
    Returned,
    /// The broker refused the message, for example because a queue is full.
    Refused,
    /// The channel or the connection ended before the confirm.
    ChannelClosed,
    /// The confirm did not arrive before the deadline.
    TimedOut,
    /// The broker blocks publishers because it is short of memory or disk space.
    Blocked,
    /// There is no connection to the broker.
    NotConnected,
    /// Too many messages are in flight already.
    Overloaded,
}

impl Label for Outcome {
    const ALL: &'static [Self] = &[
        Self::Confirmed,
        Self::Returned,
        Self::Refused,
        Self::ChannelClosed,
        Self::TimedOut,
        Self::Blocked,
        Self::NotConnected,
        Self::Overloaded,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Returned => "returned",
            Self::Refused => "refused",
            Self::ChannelClosed => "channel_closed",
            Self::TimedOut => "timed_out",
            Self::Blocked => "blocked",
            Self::NotConnected => "not_connected",
            Self::Overloaded => "overloaded",
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}
