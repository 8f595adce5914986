//! Every bound of the service, with the reason for its number.

use rustix::process::{Resource, getrlimit, setrlimit};
use std::time::Duration;

/// Open files that are not client connections: the listeners, the broker, the
/// logs and the administration listener's clients.
const OTHER_FILES: usize = 128;

/// The longest body, in bytes. Stripe's events are a few kilobytes, the
/// largest known a few hundred; 2 MiB leaves room and still fits 32 times into
/// [`Limits::buffered_bytes`].
pub const MAX_BODY: usize = 2 * 1024 * 1024;

/// Bounds in time and number. Tests shorten them; the service runs with the
/// default.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long a request's head may take to arrive, and how long a kept
    /// connection may idle. Stripe sends its head at once.
    pub head: Duration,
    /// How long a body may take to arrive.
    pub body: Duration,
    /// How long publishing may take, from the first try to the broker's
    /// confirm. Stripe gives up on an endpoint after 10 s or more, so our own
    /// 503 comes first.
    pub publish: Duration,
    /// How long a request waits for a broker connection that is being made:
    /// long enough for a busy broker that is back, short enough to answer
    /// well before `publish` is over.
    pub connection_wait: Duration,
    /// How long what is in flight may take at shutdown: body and publish fit.
    pub drain: Duration,
    /// How long one connection may live. It also ends clients that send and
    /// never read.
    pub connection_age: Duration,
    /// Client connections at once. Each is about 12 kB when idle; more than
    /// this is no webhook sender.
    pub connections: usize,
    /// Events that the broker has not answered yet. More would not be confirmed
    /// within the deadline on any broker.
    pub in_flight: usize,
    /// Body bytes buffered at once, of all requests and of all messages that the
    /// broker has not answered.
    pub buffered_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(10),
            publish: Duration::from_secs(5),
            connection_wait: Duration::from_secs(2),
            drain: Duration::from_secs(16),
            connection_age: Duration::from_secs(600),
            connections: 10_000,
            in_flight: 2_048,
            buffered_bytes: 64 * 1024 * 1024,
        }
    }
}

impl Limits {
    /// These limits, with no more connections than this process may have files
    /// open. It raises that number as far as it may: many systems begin with
    /// 1,024, at which clients that say nothing could keep everybody else out.
    #[must_use]
    pub fn within_open_files(self) -> Self {
        let mut files = getrlimit(Resource::Nofile);
        let asked = files.current;
        files.current = files.maximum;
        if setrlimit(Resource::Nofile, files).is_err() {
            files.current = asked;
        }
        self.within(files.current)
    }

    /// These limits, where so many files may be open; `None` is any number.
    fn within(self, files: Option<u64>) -> Self {
        let most = files.and_then(|most| usize::try_from(most).ok());
        let room = most.map_or(usize::MAX, |most| most.saturating_sub(OTHER_FILES).max(1));
        Self {
            connections: self.connections.min(room),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_other_files() {
        let at_most = |files| Limits::default().within(files).connections;
        assert_eq!(at_most(None), 10_000);
        assert_eq!(at_most(Some(1_000_000)), 10_000);
        assert_eq!(at_most(Some(1_024)), 1_024 - OTHER_FILES);
        assert_eq!(at_most(Some(10)), 1);
    }

    #[test]
    fn a_low_number_of_open_files_is_raised() {
        let before = getrlimit(Resource::Nofile);
        let mut low = before;
        low.current = Some(256);
        setrlimit(Resource::Nofile, low).unwrap();
        let limits = Limits::default().within_open_files();
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
        assert_eq!(
            limits.connections,
            Limits::default().within(before.maximum).connections
        );
    }
}
