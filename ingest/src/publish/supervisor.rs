//! Keeps a connection to the broker: opens it, watches it and replaces it.

use super::broker_connection::{BrokerConnection, OpenError};
use super::current_connection::{Abort, ConnectionSender, current_connection};
use super::metrics::PublishMetrics;
use super::publisher::Publisher;
use crate::limits::Limits;
use futures_util::{Stream, StreamExt};
use lapin::Event;
use shared::amqp::AmqpUrl;
use shared::telemetry::report;
use shared::topology::{Names, TopologyError};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

/// The shortest pause between two attempts to connect, however many requests ask
/// for a connection.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest pause between two attempts to connect if no request asks for a
/// connection.
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// How often the state of a connection is checked. A lost connection is reported
/// at once; the check finds one whose report is missing.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Why the service cannot start. Waiting would not help.
#[derive(Debug, thiserror::Error)]
#[error("the broker's topology does not fit")]
pub struct StartError(#[from] TopologyError);

/// Keeps the connection that a [`Publisher`] publishes on.
#[derive(Debug)]
pub struct Supervisor {
    url: AmqpUrl,
    names: Names,
    limits: Limits,
    sender: ConnectionSender<BrokerConnection>,
    metrics: Arc<PublishMetrics>,
}

impl Supervisor {
    /// Makes a supervisor, which connects once it runs, and its publisher.
    #[must_use]
    pub fn new(
        url: AmqpUrl,
        names: Names,
        limits: Limits,
        metrics: PublishMetrics,
    ) -> (Self, Publisher) {
        let metrics = Arc::new(metrics);
        let (sender, watch) = current_connection();
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
    /// The broker's topology differs from the service's on the first connection.
    /// On a later connection that is logged, reported by `/readyz` and tried again.
    pub async fn run(self, stop: CancellationToken) -> Result<(), StartError> {
        let mut backoff = Backoff::new();
        let mut has_connected = false;
        let mut last_error = String::new();
        loop {
            let opening = BrokerConnection::open(&self.url, &self.names, &self.limits);
            let opened = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                opened = opening => opened,
            };
            match opened {
                Ok(connection) => {
                    has_connected = true;
                    last_error.clear();
                    backoff = Backoff::new();
                    if self.serve(Arc::new(connection), &stop).await == Ended::Stopped {
                        return Ok(());
                    }
                }
                Err(OpenError::Topology(error)) if error.is_mismatch() && !has_connected => {
                    return Err(error.into());
                }
                Err(error) => self.report_failure(&error, &mut last_error),
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = backoff.wait(&self.sender) => {}
            }
        }
    }

    /// Offers one connection to publishers until it ends.
    async fn serve(&self, connection: Arc<BrokerConnection>, stop: &CancellationToken) -> Ended {
        // Publishers get the connection after this, so that no event is missed.
        let events = connection.events();
        self.metrics.broker_connects.inc();
        self.metrics.broker_connected.set(1);
        self.sender.connected(Arc::clone(&connection));
        tracing::info!(broker = %self.url, "connected to the broker");
        let topology = connection.topology();
        let ended = tokio::select! {
            () = stop.cancelled() => Ended::Stopped,
            reason = self.watch(&connection, events) => Ended::Lost(reason),
            never = topology.run(|| connection.is_blocked()) => match never {},
        };
        let reason = match &ended {
            Ended::Stopped => "shutting down",
            Ended::Lost(reason) => {
                tracing::warn!(reason, "lost the broker");
                "the broker connection was lost"
            }
        };
        self.sender.disconnected(reason);
        self.metrics.broker_connected.set(0);
        self.metrics.broker_blocked.set(0);
        match ended {
            Ended::Stopped => connection.close().await,
            // Publishes may still be in flight on it.
            Ended::Lost(_) => connection.abort(),
        }
        ended
    }

    /// Watches a connection until it is lost. Returns the reason.
    async fn watch(
        &self,
        connection: &BrokerConnection,
        events: impl Stream<Item = Event>,
    ) -> String {
        let mut events = std::pin::pin!(events);
        let mut check = interval(CHECK_INTERVAL);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // The broker's own reason tells more than that of an abort.
                biased;
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => {
                        self.set_blocked(connection, Some(&reason));
                    }
                    Some(Event::ConnectionUnblocked) => self.set_blocked(connection, None),
                    Some(Event::Error(error)) if !connection.is_alive() => return report(&error),
                    // An error of a channel, which the user of the channel receives.
                    Some(_) => {}
                    None => return "its task ended".into(),
                },
                () = connection.aborted() => return "it stopped answering".into(),
                _ = check.tick() => {
                    if !connection.is_alive() {
                        return "it was closed".into();
                    }
                }
            }
        }
    }

    fn set_blocked(&self, connection: &BrokerConnection, reason: Option<&str>) {
        match reason {
            Some(reason) => tracing::warn!(reason, "the broker blocks publishers"),
            None => tracing::info!("the broker no longer blocks publishers"),
        }
        connection.set_blocked(reason.is_some());
        self.metrics.broker_blocked.set(i64::from(reason.is_some()));
    }

    /// Reports a failed attempt to connect. Logs an error as a warning once while
    /// it repeats.
    fn report_failure(&self, error: &OpenError, last_error: &mut String) {
        let error = report(error);
        if error == *last_error {
            tracing::debug!(broker = %self.url, error, "still no broker");
        } else {
            tracing::warn!(broker = %self.url, error, "no broker");
        }
        self.sender.disconnected(&error);
        *last_error = error;
    }
}

/// Why a connection is no longer served.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// The service stops.
    Stopped,
    /// The connection was lost, for this reason.
    Lost(String),
}

/// The growing pause between two attempts to connect.
struct Backoff(Duration);

impl Backoff {
    fn new() -> Self {
        Self(BACKOFF_MIN)
    }

    /// Waits for the pause, with jitter. A requested connection shortens the pause
    /// to [`BACKOFF_MIN`].
    async fn wait(&mut self, sender: &ConnectionSender<BrokerConnection>) {
        let jittered = self.0.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.0 = (self.0 * 2).min(BACKOFF_MAX);
        sleep(BACKOFF_MIN).await;
        tokio::select! {
            () = sleep(jittered.saturating_sub(BACKOFF_MIN)) => {}
            () = sender.requested() => {}
        }
    }
}
