//! The way to the broker: an event is published when the broker has confirmed
//! that it is on a queue, and not before.
//!
//! One AMQP connection, made again by a supervisor whenever it is lost, and a
//! [`confirm_channel`] on it: one channel with many messages in flight.

mod broker_connection;
mod confirm_channel;
mod connection_slot;
mod supervisor;

pub use supervisor::{StartError, Supervisor};

use crate::body::BudgetPermit;
use crate::limits::Limits;
use crate::metrics::{Counted, Label, Metrics};
use crate::signature::Verified;
use broker_connection::BrokerConnection;
use confirm_channel::Message;
use connection_slot::{Abort, ConnectionWatch};
use lapin::BasicProperties;
use shared::topology::is_handled;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// What became of one publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The broker confirmed that the message is on at least one queue.
    Confirmed,
    /// The broker confirmed and gave the message back: no queue is bound to
    /// its type. Or the worker's queue, which its type is for, is known to be
    /// missing.
    Returned,
    /// The broker refused the message, for example because a queue is full.
    Refused,
    /// The channel or the connection ended before the confirm.
    ChannelClosed,
    /// No confirm within the deadline.
    TimedOut,
    /// The broker blocks publishers: it is short of memory or disk.
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

/// Publishes events. Dropping it does not end the supervisor.
#[derive(Debug)]
pub struct Publisher {
    connections: ConnectionWatch<BrokerConnection>,
    in_flight: Arc<Semaphore>,
    limits: Limits,
    metrics: Arc<Metrics>,
}

impl Publisher {
    /// Publishes a verified event with its type as the routing key. Takes no
    /// longer than `limits.publish`. Only [`Outcome::Confirmed`] promises
    /// that the event is safe. The event's budget permit is kept until the
    /// broker has answered, however long that takes.
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
        // Another's queue could take it, and nobody would return it.
        if connection.is_absent() && is_handled(event_type) {
            return Outcome::Returned;
        }
        let confirms_before = connection.confirms_received();
        let publish = connection.publish(message);
        match timeout_at(start + self.limits.publish, publish).await {
            Ok(outcome) => {
                let seconds = start.elapsed().as_secs_f64();
                self.metrics.confirm_seconds.observe(seconds);
                if hints_at_missing(outcome, event_type, &connection) {
                    connection.report_missing();
                }
                outcome
            }
            Err(_elapsed) => {
                // Not one answer in all this time: the connection is dead,
                // and lapin would keep everything that is still in it.
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
    /// A short reason why not.
    pub fn ready(&self) -> Result<(), String> {
        self.connections.ready(BrokerConnection::ready)
    }

    /// A request being worked on, for as long as the value lives.
    pub(crate) fn count(&self) -> Counted<'_> {
        Counted::new(&self.metrics.in_flight)
    }
}

/// Whether an exchange, a queue or a binding seems to be missing.
fn hints_at_missing(outcome: Outcome, event_type: &str, connection: &BrokerConnection) -> bool {
    match outcome {
        Outcome::Returned => is_handled(event_type),
        // For want of an exchange the broker closes the channel alone.
        Outcome::ChannelClosed => connection.is_alive(),
        Outcome::Confirmed
        | Outcome::Refused
        | Outcome::TimedOut
        | Outcome::Blocked
        | Outcome::NotConnected
        | Outcome::Overloaded => false,
    }
}
