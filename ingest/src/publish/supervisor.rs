//! Keeps a connection to the broker: makes it, watches it, makes it again.

use super::broker_connection::{BrokerConnection, OpenError};
use super::connection_slot::{Abort, ConnectionSender, connection_slot};
use super::metrics::PublishMetrics;
use super::publisher::Publisher;
use crate::limits::Limits;
use futures_util::{Stream, StreamExt};
use lapin::Event;
use shared::amqp::AmqpUrl;
use shared::telemetry::report;
use shared::topology::{Names, TopologyError};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The shortest pause between two tries, however many requests ask for one.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between two tries when nobody asks.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often a connection is looked at. Losses are reported at once; this catches
/// the one that was not.
const LOOK: Duration = Duration::from_millis(500);
/// How often exchanges and queues are looked for although nothing seems to be
/// missing: a message that is on another's queue alone is not returned.
const FIND_EVERY: Duration = Duration::from_secs(1);
/// How often everything is declared for the same reason: bindings cannot be looked
/// for.
const REDECLARE_EVERY: Duration = Duration::from_secs(10);
/// How long something is left missing before it is declared again. RabbitMQ cancels
/// the consumers of a deleted queue a moment later. If there is a new queue of the
/// same name by then, it was seen to move them there instead, and what the new queue
/// delivers does not reach them.
const SETTLE: Duration = Duration::from_secs(1);
/// How long looking at it or declaring it may take.
const DECLARE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the service cannot start. Waiting would not help.
#[derive(Debug, thiserror::Error)]
#[error("the broker's topology does not fit")]
pub struct StartError(#[from] TopologyError);

/// Owns the connection that a [`Publisher`] publishes on.
#[derive(Debug)]
pub struct Supervisor {
    url: AmqpUrl,
    names: Names,
    limits: Limits,
    sender: ConnectionSender<BrokerConnection>,
    metrics: Arc<PublishMetrics>,
}

impl Supervisor {
    /// A supervisor, which connects as soon as it runs, and its publisher.
    #[must_use]
    pub fn new(
        url: AmqpUrl,
        names: Names,
        limits: Limits,
        metrics: PublishMetrics,
    ) -> (Self, Publisher) {
        let metrics = Arc::new(metrics);
        let (sender, watch) = connection_slot();
        let publisher = Publisher::new(watch, limits.clone(), Arc::clone(&metrics));
        let supervisor = Self {
            url,
            names,
            limits,
            sender,
            metrics,
        };
        (supervisor, publisher)
    }

    /// Runs until `stop`, then closes the connection.
    ///
    /// # Errors
    /// The broker's topology differs from ours on the first connection. Later
    /// on that is logged, shown by `ready` and tried again.
    pub async fn run(self, stop: CancellationToken) -> Result<(), StartError> {
        let mut pause = Pause::new();
        let mut was_up = false;
        let mut complaint = String::new();
        loop {
            let opening = BrokerConnection::open(&self.url, &self.names, &self.limits);
            let opened = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                opened = opening => opened,
            };
            match opened {
                Ok(connection) => {
                    was_up = true;
                    complaint.clear();
                    pause = Pause::new();
                    if self.serve(Arc::new(connection), &stop).await == Ended::Stopped {
                        return Ok(());
                    }
                }
                Err(OpenError::Topology(error)) if error.is_mismatch() && !was_up => {
                    return Err(error.into());
                }
                Err(error) => self.complain(&error, &mut complaint),
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = pause.wait(&self.sender) => {}
            }
        }
    }

    /// Serves one connection until it ends.
    async fn serve(&self, connection: Arc<BrokerConnection>, stop: &CancellationToken) -> Ended {
        // Listened to before anybody publishes: nothing is missed.
        let events = connection.connection().events_listener();
        self.metrics.broker_connects.inc();
        self.metrics.broker_connected.set(1);
        self.sender.connected(Arc::clone(&connection));
        tracing::info!(broker = %self.url, "connected to the broker");
        let ended = tokio::select! {
            () = stop.cancelled() => Ended::Stopped,
            reason = self.watch(&connection, events) => Ended::Lost(reason),
            never = see_to_topology(&connection) => match never {},
        };
        let down = match &ended {
            Ended::Stopped => "shutting down",
            Ended::Lost(reason) => {
                tracing::warn!(reason, "lost the broker");
                "the broker connection was lost"
            }
        };
        self.sender.disconnected(down);
        self.metrics.broker_connected.set(0);
        self.metrics.broker_blocked.set(0);
        match ended {
            Ended::Stopped => connection.close().await,
            // Ends what is still in flight on it.
            Ended::Lost(_) => connection.abort(),
        }
        ended
    }

    /// Watches a connection until it is lost, and says why it was.
    async fn watch(
        &self,
        connection: &BrokerConnection,
        events: impl Stream<Item = Event>,
    ) -> String {
        let mut events = std::pin::pin!(events);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // What the broker said comes before what others made of it.
                biased;
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => self.blocked(connection, Some(&reason)),
                    Some(Event::ConnectionUnblocked) => self.blocked(connection, None),
                    Some(Event::Error(error)) if !connection.is_alive() => return report(&error),
                    // A channel's error; whoever used it knows.
                    Some(_) => {}
                    None => return "its task ended".into(),
                },
                () = connection.aborted() => return "it stopped answering".into(),
                _ = look.tick() => {
                    if !connection.is_alive() {
                        return "it was closed".into();
                    }
                }
            }
        }
    }

    fn blocked(&self, connection: &BrokerConnection, reason: Option<&str>) {
        match reason {
            Some(reason) => tracing::warn!(reason, "the broker blocks publishers"),
            None => tracing::info!("the broker no longer blocks publishers"),
        }
        connection.set_blocked(reason.is_some());
        self.metrics.broker_blocked.set(i64::from(reason.is_some()));
    }

    /// Logs a failed try, but not the same complaint again and again.
    fn complain(&self, error: &OpenError, last: &mut String) {
        let complaint = report(error);
        if complaint == *last {
            tracing::debug!(broker = %self.url, error = complaint, "still no broker");
        } else {
            tracing::warn!(broker = %self.url, error = complaint, "no broker");
        }
        self.sender.disconnected(&complaint);
        *last = complaint;
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Stopped,
    Lost(String),
}

/// Sees that what events need is there, and puts back what somebody deleted, for
/// as long as the connection lives.
async fn see_to_topology(connection: &BrokerConnection) -> Infallible {
    let mut declared = Instant::now();
    let mut complaint = String::new();
    loop {
        tokio::select! {
            () = connection.missing() => {}
            () = sleep(FIND_EVERY) => {}
        }
        // A blocked broker would not answer.
        if connection.is_blocked() {
            continue;
        }
        let mut seen = timeout(DECLARE_TIMEOUT, connection.find()).await;
        let is_missing = !connection.is_declared();
        if is_missing {
            sleep(SETTLE).await;
        }
        if is_missing || declared.elapsed() > REDECLARE_EVERY {
            declared = Instant::now();
            seen = timeout(DECLARE_TIMEOUT, connection.redeclare()).await;
        }
        match seen {
            Ok(Ok(())) if is_missing => {
                complaint.clear();
                tracing::info!("the topology is there again");
            }
            Ok(Ok(())) => complaint.clear(),
            Ok(Err(error)) => {
                let error = report(&error);
                if error != complaint {
                    tracing::error!(error, "something is missing on the broker");
                }
                complaint = error;
            }
            Err(_elapsed) => tracing::warn!("looking at the topology took too long"),
        }
    }
}

/// The growing pause between two tries.
struct Pause(Duration);

impl Pause {
    fn new() -> Self {
        Self(SHORTEST_PAUSE)
    }

    /// Waits, with jitter; a nudge cuts it down to the shortest.
    async fn wait(&mut self, sender: &ConnectionSender<BrokerConnection>) {
        let jittered = self.0.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
        sleep(SHORTEST_PAUSE).await;
        tokio::select! {
            () = sleep(jittered.saturating_sub(SHORTEST_PAUSE)) => {}
            () = sender.requested() => {}
        }
    }
}
