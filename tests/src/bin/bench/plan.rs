//! How much is measured, and for how long.

use std::time::Duration;

/// Sizes and times of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Each measurement of the intake and of its limit.
    pub(crate) intake: Duration,
    /// What goes before it.
    pub(crate) warm_up: Duration,
    /// How often each way through the broker is measured, in turns; the medians count.
    pub(crate) broker_rounds: u32,
    /// Events that wait when the worker is started.
    pub(crate) backlog: u64,
    /// Events that wait when a worker is started that has commands in hand.
    pub(crate) command_backlog: u64,
    /// How often that is measured, in turns with a worker that has none; the medians count.
    pub(crate) command_rounds: u32,
    /// Bookings that are sold.
    pub(crate) bookings: u32,
    /// Rates of the open-loop load, in events a second.
    pub(crate) rates: &'static [u32],
    /// How long each is kept up.
    pub(crate) at_rate: Duration,
    /// Single rows committed, one every ten milliseconds, to see how long one takes.
    pub(crate) commits: u32,
    /// How long the highest rate has to be held; none: it is not looked for.
    pub(crate) hold: Option<Duration>,
    /// Rows of the ledger before the events whose cost is measured.
    pub(crate) ledgers: &'static [u64],
    /// Events whose cost is measured on each ledger.
    pub(crate) grown: u64,
    /// How often that is measured; the best counts.
    pub(crate) rounds: u32,
    /// Events that wait in the long queue.
    pub(crate) long_queue: u64,
}

impl Plan {
    /// Ten minutes.
    pub(crate) const FULL: Self = Self {
        intake: Duration::from_secs(5),
        warm_up: Duration::from_secs(1),
        broker_rounds: 3,
        backlog: 200_000,
        command_backlog: 100_000,
        command_rounds: 3,
        bookings: 1_200,
        rates: &[100, 1_000, 5_000, 8_000, 12_000],
        at_rate: Duration::from_secs(10),
        commits: 300,
        hold: Some(Duration::from_secs(60)),
        ledgers: &[0, 1_000_000, 5_000_000],
        grown: 60_000,
        rounds: 2,
        long_queue: 500_000,
    };

    /// One minute.
    pub(crate) const QUICK: Self = Self {
        intake: Duration::from_millis(1_000),
        warm_up: Duration::from_millis(250),
        broker_rounds: 1,
        backlog: 10_000,
        command_backlog: 30_000,
        command_rounds: 1,
        bookings: 100,
        rates: &[100, 2_000],
        at_rate: Duration::from_secs(3),
        commits: 100,
        hold: None,
        ledgers: &[0, 100_000],
        grown: 10_000,
        rounds: 1,
        long_queue: 30_000,
    };
}
