//! One connection to the broker and its channels.

use super::confirm_channel::{ConfirmChannel, Message};
use super::connection_slot::Abort;
use super::outcome::Outcome;
use crate::limits::Limits;
use lapin::Connection;
use shared::amqp::{AmqpUrl, ConnectError, SocketShutdown, connect_with_socket_shutdown};
use shared::topology::{self, Declared, Names, TopologyError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
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

/// A connection with its topology declared.
pub(super) struct BrokerConnection {
    connection: Arc<Connection>,
    socket: SocketShutdown,
    names: Names,
    /// How far the topology could be seen to.
    topology: Declared,
    channel: ConfirmChannel,
    /// The number of publishes that the broker has confirmed, positively or
    /// negatively.
    confirms_received: Arc<AtomicU64>,
    /// Whether the broker blocks publishers.
    blocked: watch::Sender<bool>,
    /// Whether the topology is there as declared, as far as known.
    declared: AtomicBool,
    /// Whether an exchange or a queue was looked for and not found.
    absent: AtomicBool,
    /// The exchange, a queue or a binding seems to be missing.
    missing: Notify,
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
            let topology = topology::declare(&connection, names).await?;
            let (connection, confirms) = (Arc::clone(&connection), Arc::clone(&confirms_received));
            let exchange = names.events.clone();
            let channel =
                ConfirmChannel::open(connection, exchange, limits.in_flight, confirms).await?;
            Ok((topology, channel))
        };
        // A broker that stalls here would stall the supervisor.
        match tokio::time::timeout(limits.publish, prepare).await {
            Ok(Ok((topology, channel))) => Ok(Self {
                connection,
                socket,
                names: names.clone(),
                topology,
                channel,
                confirms_received,
                blocked: watch::Sender::new(false),
                declared: AtomicBool::new(true),
                absent: AtomicBool::new(false),
                missing: Notify::new(),
                aborted: CancellationToken::new(),
            }),
            Ok(Err(error)) => Err(error),
            Err(_elapsed) => {
                socket.shut_down();
                Err(OpenError::Slow(limits.publish))
            }
        }
    }

    /// Publishes one message and waits for the broker's answer to it.
    pub(super) async fn publish(&self, message: Message) -> Outcome {
        let mut blocked = self.blocked.subscribe();
        tokio::select! {
            biased;
            // A blocked broker reads nothing more, not even what it was sent
            // before it said so.
            _ = blocked.wait_for(|blocked| *blocked) => Outcome::Blocked,
            () = self.aborted.cancelled() => Outcome::ChannelClosed,
            outcome = self.channel.publish(message) => outcome,
        }
    }

    /// The number of publishes that the broker has confirmed so far.
    pub(super) fn confirms_received(&self) -> u64 {
        self.confirms_received.load(Ordering::Relaxed)
    }

    pub(super) fn ready(&self) -> Result<(), String> {
        let reason = if !self.is_alive() {
            "the broker connection was lost"
        } else if self.is_blocked() {
            "the broker blocks publishers"
        } else if !self.is_declared() {
            "an exchange, a queue or a binding is missing or different on the broker"
        } else {
            return Ok(());
        };
        Err(reason.into())
    }

    pub(super) fn is_blocked(&self) -> bool {
        *self.blocked.borrow()
    }

    pub(super) fn set_blocked(&self, blocked: bool) {
        self.blocked.send_replace(blocked);
    }

    /// Reports that something of the topology seems to be missing: an event of
    /// a handled type was returned, or the broker closed a channel.
    pub(super) fn report_missing(&self) {
        self.declared.store(false, Ordering::Relaxed);
        self.missing.notify_one();
    }

    /// Waits until something of the topology is missing.
    pub(super) async fn missing(&self) {
        self.missing.notified().await;
    }

    pub(super) fn is_declared(&self) -> bool {
        self.declared.load(Ordering::Relaxed)
    }

    /// Whether the worker's queue, or the way to it, is known not to be there.
    /// Another's queue may still take the worker's events.
    pub(super) fn is_absent(&self) -> bool {
        self.absent.load(Ordering::Relaxed)
    }

    /// Declares the topology again, or looks for it again where it may not be
    /// declared: the broker would log each refusal.
    pub(super) async fn redeclare(&self) -> Result<(), TopologyError> {
        let seen = match self.topology {
            Declared::AsWanted => topology::declare(&self.connection, &self.names)
                .await
                .map(drop),
            Declared::ByName => topology::find(&self.connection, &self.names).await,
        };
        let seen = self.note(seen);
        self.declared.store(seen.is_ok(), Ordering::Relaxed);
        seen
    }

    /// Looks for the exchanges and queues.
    pub(super) async fn find(&self) -> Result<(), TopologyError> {
        let seen = self.note(topology::find(&self.connection, &self.names).await);
        if seen.is_err() {
            self.declared.store(false, Ordering::Relaxed);
        }
        seen
    }

    /// Takes down whether anything is absent. If the broker went away, nothing is
    /// known of that.
    fn note(&self, seen: Result<(), TopologyError>) -> Result<(), TopologyError> {
        if !matches!(seen, Err(TopologyError::Broker { .. })) {
            let is_absent = matches!(seen, Err(TopologyError::Absent { .. }));
            self.absent.store(is_absent, Ordering::Relaxed);
        }
        seen
    }

    /// Events of the connection, to be listened to by one.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
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
