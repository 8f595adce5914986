//! The bounds of the service, with the reason for each number.

use rustix::process::{Resource, getrlimit, setrlimit};
use std::time::Duration;

/// Open files that are not client connections: the listeners, the broker
/// connection, the logs and the clients of the admin listener.
const OTHER_FILES: usize = 128;

/// The longest body, in bytes. Stripe's events have a few kilobytes, the largest
/// known one a few hundred. 2 MiB is well above that and fits 32 times into
/// [`Limits::buffered_bytes`].
pub const MAX_BODY: usize = 2 * 1024 * 1024;

/// Bounds on times and numbers. The service runs with the defaults; tests shorten
/// them.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long a request's head may take to arrive, and how long a connection may
    /// be idle between two requests. Stripe sends a head at once.
    pub head: Duration,
    /// How long a request's body may take to arrive.
    pub body: Duration,
    /// How long publishing may take, up to the broker's confirm. Stripe gives a
    /// request up after 10 s or more, so the service answers 503 before that.
    pub publish: Duration,
    /// How long a request waits for a broker connection that is being opened: long
    /// enough for a busy broker that is back, short enough to answer well before
    /// `publish` is over.
    pub connection_wait: Duration,
    /// How long the requests in progress may take at shutdown. `body` and
    /// `publish` fit into it.
    pub drain: Duration,
    /// How long one connection may live. This also ends the connection of a client
    /// that sends and never reads.
    pub connection_age: Duration,
    /// Client connections at once. An idle one takes about 12 kB. No sender of
    /// webhooks opens more than this.
    pub connections: usize,
    /// Messages that the broker has not confirmed yet. No broker would confirm more
    /// within the deadline.
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
    /// Raises the number of files that this process may open to its hard limit, and
    /// returns these limits with no more connections than that number allows. Many
    /// systems start with 1,024 files: so few connections could be held by idle
    /// clients alone.
    #[must_use]
    pub fn within_open_files(self) -> Self {
        let mut files = getrlimit(Resource::Nofile);
        let soft_limit = files.current;
        files.current = files.maximum;
        if setrlimit(Resource::Nofile, files).is_err() {
            files.current = soft_limit;
        }
        self.within(files.current)
    }

    /// Returns these limits for a process that may open `files` files, where `None`
    /// is any number.
    fn within(self, files: Option<u64>) -> Self {
        let files = files.and_then(|files| usize::try_from(files).ok());
        let connections =
            files.map_or(usize::MAX, |files| files.saturating_sub(OTHER_FILES).max(1));
        Self {
            connections: self.connections.min(connections),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_other_uses() {
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
