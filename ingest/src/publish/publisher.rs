//! Publishes one event within the deadline.

use super::broker_connection::BrokerConnection;
use super::confirm_channel::Message;
use super::current_connection::{Abort, ConnectionWatch};
use super::metrics::PublishMetrics;
use super::outcome::Outcome;
use crate::body::BudgetPermit;
use crate::limits::Limits;
use crate::signature::Verified;
use event::EventType;
use lapin::BasicProperties;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// Publishes events. Dropping it does not end the supervisor.
#[derive(Debug)]
pub struct Publisher {
    connections: ConnectionWatch<BrokerConnection>,
    in_flight: Arc<Semaphore>,
    limits: Limits,
    metrics: Arc<PublishMetrics>,
}

impl Publisher {
    pub(super) fn new(
        connections: ConnectionWatch<BrokerConnection>,
        limits: Limits,
        metrics: Arc<PublishMetrics>,
    ) -> Self {
        Self {
            connections,
            in_flight: Arc::new(Semaphore::new(limits.in_flight)),
            limits,
            metrics,
        }
    }

    /// Publishes a verified event with its type as the routing key. Takes no
    /// longer than `limits.publish`. Only [`Outcome::Confirmed`] promises that
    /// the event is safe. The budget permit is kept until the broker has
    /// confirmed the message, even after the deadline.
    pub(crate) async fn publish(
        &self,
        event: Verified,
        event_type: &str,
        properties: BasicProperties,
        budget_permit: BudgetPermit,
    ) -> Outcome {
        let outcome = match Arc::clone(&self.in_flight).try_acquire_owned() {
            Ok(in_flight_permit) => {
                let message = Message {
                    event,
                    routing_key: event_type.into(),
                    properties,
                    budget_permit,
                    in_flight_permit,
                };
                self.within_deadline(message, event_type).await
            }
            Err(_none_left) => Outcome::Overloaded,
        };
        self.metrics.outcomes.inc(outcome);
        outcome
    }

    async fn within_deadline(&self, message: Message, event_type: &str) -> Outcome {
        let start = Instant::now();
        let Some(connection) = self.connection(start).await else {
            return Outcome::NotConnected;
        };
        // If another service's queue takes the event, the broker does not return
        // it, although it does not reach the worker.
        if connection.topology().is_absent() && EventType::parse(event_type).is_some() {
            return Outcome::Returned;
        }
        let confirms_before = connection.confirms_received();
        let publish = connection.publish(message);
        match timeout_at(start + self.limits.publish, publish).await {
            Ok(outcome) => {
                let seconds = start.elapsed().as_secs_f64();
                self.metrics.confirm_seconds.observe(seconds);
                if hints_at_missing(outcome, event_type, &connection) {
                    connection.topology().report_missing();
                }
                outcome
            }
            Err(_elapsed) => {
                // Without one confirm in all this time, the connection is dead, and
                // lapin would keep the messages that are in flight on it.
                if connection.confirms_received() == confirms_before {
                    connection.abort();
                }
                Outcome::TimedOut
            }
        }
    }

    /// Returns the current connection, or requests one and waits for it.
    async fn connection(&self, start: Instant) -> Option<Arc<BrokerConnection>> {
        if let Some(connection) = self.connections.current() {
            return Some(connection);
        }
        let wait = self.limits.connection_wait.min(self.limits.publish);
        timeout_at(start + wait, self.connections.request())
            .await
            .ok()?
    }

    /// Whether an event that comes now can be published.
    ///
    /// # Errors
    /// The reason why it cannot, for the body of `/readyz`.
    pub fn ready(&self) -> Result<(), String> {
        self.connections.ready(BrokerConnection::ready)
    }
}

/// Whether the outcome suggests that an exchange, a queue or a binding is missing.
fn hints_at_missing(outcome: Outcome, event_type: &str, connection: &BrokerConnection) -> bool {
    match outcome {
        Outcome::Returned => EventType::parse(event_type).is_some(),
        // If the exchange is missing, the broker closes the channel and leaves the
        // connection open.
        Outcome::ChannelClosed => connection.is_alive(),
        Outcome::Confirmed
        | Outcome::Refused
        | Outcome::TimedOut
        | Outcome::Blocked
        | Outcome::NotConnected
        | Outcome::Overloaded => false,
    }
}
