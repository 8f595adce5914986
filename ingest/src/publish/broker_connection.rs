//! One connection to the broker, with its topology and its channel.

use super::confirm_channel::{ConfirmChannel, Message};
use super::current_connection::Abort;
use super::outcome::Outcome;
use super::topology_monitor::TopologyMonitor;
use crate::limits::Limits;
use futures_util::Stream;
use lapin::{Connection, Event};
use shared::amqp::{AmqpUrl, ConnectError, SocketShutdown, connect_with_socket_shutdown};
use shared::topology::{Names, TopologyError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long the AMQP close handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Topology(#[from] TopologyError),
    #[error(transparent)]
    Channel(#[from] lapin::Error),
    #[error("the topology was not declared within {} ms", .0.as_millis())]
    Slow(Duration),
}

/// A connection with its topology declared and its channel open.
pub(super) struct BrokerConnection {
    connection: Arc<Connection>,
    socket: SocketShutdown,
    topology: TopologyMonitor,
    channel: ConfirmChannel,
    /// The number of publishes that the broker has acked or nacked.
    confirms_received: Arc<AtomicU64>,
    /// Whether the broker blocks publishers.
    is_blocked: watch::Sender<bool>,
    aborted: CancellationToken,
}

impl BrokerConnection {
    /// Connects, declares the topology and opens a channel.
    pub(super) async fn open(
        url: &AmqpUrl,
        names: &Names,
        limits: &Limits,
    ) -> Result<Self, OpenError> {
        let (connection, socket) = connect_with_socket_shutdown(url, "ingest").await?;
        let connection = Arc::new(connection);
        let confirms_received = Arc::default();
        let prepare = async {
            let topology = TopologyMonitor::declare(Arc::clone(&connection), names).await?;
            let (connection, confirms) = (Arc::clone(&connection), Arc::clone(&confirms_received));
            let exchange = names.events.clone();
            let channel =
                ConfirmChannel::open(connection, exchange, limits.in_flight, confirms).await?;
            Ok((topology, channel))
        };
        // Without a timeout, a broker that stalls here would stall the supervisor.
        match tokio::time::timeout(limits.publish, prepare).await {
            Ok(Ok((topology, channel))) => Ok(Self {
                connection,
                socket,
                topology,
                channel,
                confirms_received,
                is_blocked: watch::Sender::new(false),
                aborted: CancellationToken::new(),
            }),
            Ok(Err(error)) => Err(error),
            Err(_elapsed) => {
                socket.shut_down();
                Err(OpenError::Slow(limits.publish))
            }
        }
    }

    /// Publishes one message and waits for its outcome.
    pub(super) async fn publish(&self, message: Message) -> Outcome {
        let mut is_blocked = self.is_blocked.subscribe();
        tokio::select! {
            biased;
            // A broker that blocks publishers reads nothing more, not even the
            // messages that were sent before it announced that.
            _ = is_blocked.wait_for(|is_blocked| *is_blocked) => Outcome::Blocked,
            () = self.aborted.cancelled() => Outcome::ChannelClosed,
            outcome = self.channel.publish(message) => outcome,
        }
    }

    /// Returns the number of publishes that the broker has acked or nacked.
    pub(super) fn confirms_received(&self) -> u64 {
        self.confirms_received.load(Ordering::Relaxed)
    }

    /// Whether an event that comes now can be published, or the reason why not.
    pub(super) fn ready(&self) -> Result<(), String> {
        let reason = if !self.is_alive() {
            "the broker connection was lost"
        } else if self.is_blocked() {
            "the broker blocks publishers"
        } else if !self.topology.is_intact() {
            "an exchange, a queue or a binding is missing or different on the broker"
        } else {
            return Ok(());
        };
        Err(reason.into())
    }

    pub(super) fn is_blocked(&self) -> bool {
        *self.is_blocked.borrow()
    }

    pub(super) fn set_blocked(&self, is_blocked: bool) {
        self.is_blocked.send_replace(is_blocked);
    }

    pub(super) fn topology(&self) -> &TopologyMonitor {
        &self.topology
    }

    /// Subscribes to the connection's events.
    pub(super) fn events(&self) -> impl Stream<Item = Event> {
        self.connection.events_listener()
    }

    /// Waits until the connection is aborted.
    pub(super) async fn aborted(&self) {
        self.aborted.cancelled().await;
    }

    /// Closes the connection with the AMQP handshake, or shuts its socket down if
    /// that takes too long.
    pub(super) async fn close(&self) {
        let closing = self.connection.close(200, "shutting down".into());
        let closed = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
        if !matches!(closed, Ok(Ok(()))) {
            self.socket.shut_down();
        }
    }
}

impl Abort for BrokerConnection {
    fn is_alive(&self) -> bool {
        !self.aborted.is_cancelled()
            && !self.channel.has_ended()
            && self.connection.status().connected()
    }

    /// Fails everything that is in flight on the connection.
    fn abort(&self) {
        self.aborted.cancel();
        self.socket.shut_down();
    }
}

impl std::fmt::Debug for BrokerConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerConnection")
            .field("alive", &self.is_alive())
            .finish_non_exhaustive()
    }
}
