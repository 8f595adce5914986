//! Consuming a queue, over as many connections as it takes.

use std::{future::Future, time::Duration};

use futures_util::StreamExt;
use lapin::{
    Channel, Connection, Consumer as Messages, ErrorKind,
    message::Delivery as Message,
    options::{BasicConsumeOptions, BasicQosOptions},
    types::{FieldTable, ShortString},
};
use shared::{
    amqp::{self, AmqpUrl},
    topology::{self, Names, Role, TopologyError},
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{amqp::publisher::OpenError, backoff::Backoff};

/// How long the broker may take to close a channel.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// A session that lasted so long was a good one: the next pause is short again.
const GOOD_SESSION: Duration = Duration::from_secs(10);
/// The longest pause where a person has to mend something at the broker first.
const LONGEST_REFUSED: Duration = Duration::from_secs(60);
/// The broker's reply code where the user lacks a right.
const ACCESS_REFUSED: u16 = 403;

/// A queue to consume.
#[derive(Clone, Debug)]
pub struct Queue {
    /// The broker.
    pub amqp: AmqpUrl,
    /// The names of exchanges and queues, which are declared first.
    pub names: Names,
    /// The queue's name.
    pub name: ShortString,
    /// The connection's name, which the broker's operators see.
    pub connection: &'static str,
    /// The most deliveries that are not acked.
    pub prefetch: u16,
    /// Which of the exchanges and queues are declared.
    pub role: Role,
}

/// A consumer of the queue, on a connection of its own.
#[derive(Debug)]
pub struct Session {
    /// The connection, which ends when it is dropped.
    pub connection: Connection,
    /// The channel, on which deliveries are acked.
    pub channel: Channel,
    /// The deliveries.
    pub messages: Messages,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// There is no connection.
    #[error("the broker cannot be reached")]
    Connect(#[from] amqp::ConnectError),
    /// The topology is not as it has to be.
    #[error("the topology could not be declared")]
    Topology(#[from] TopologyError),
    /// The connection failed.
    #[error("the connection to the broker failed")]
    Broker(#[from] lapin::Error),
    /// The broker cancelled the consumer or closed the connection.
    #[error("the queue was deleted or the connection closed")]
    Ended,
    /// Deliveries that could not be handled have to come again.
    #[error("some deliveries could not be handled; they are tried again")]
    Redeliver,
}

impl From<OpenError> for SessionError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Connect(error) => Self::Connect(error),
            OpenError::Channel(error) => Self::Broker(error),
        }
    }
}

/// Serves the sessions of a queue.
pub trait Serve: Sync {
    /// Serves one session: opens it, and handles deliveries until `stop`.
    ///
    /// # Errors
    /// The session was lost; the next one begins after a pause.
    fn session(
        &self,
        stop: &CancellationToken,
    ) -> impl Future<Output = Result<(), SessionError>> + Send;

    /// Hears why a session was lost.
    fn lost(&self, error: &SessionError);
}

/// Serves one session after the other until one ends well or `stop` is cancelled; a pause
/// that grows stands between two.
///
/// # Errors
/// The topology differs from ours: no retry mends it.
pub async fn serve(server: &impl Serve, stop: &CancellationToken) -> Result<(), TopologyError> {
    let mut backoff = Backoff::default();
    while !stop.is_cancelled() {
        let started = Instant::now();
        match server.session(stop).await {
            Ok(()) => break,
            Err(SessionError::Topology(error)) if error.is_mismatch() => return Err(error),
            Err(error) => server.lost(&error),
        }
        if started.elapsed() > GOOD_SESSION {
            backoff = Backoff::default();
        }
        tokio::select! {
            () = backoff.pause() => {}
            () = stop.cancelled() => {}
        }
    }
    Ok(())
}

/// Serves as [`serve`] does what the worker can go on without: a topology that differs and a
/// right that is missing are looked at again as well, after pauses that grow to a minute.
pub async fn serve_beside(server: &impl Serve, stop: &CancellationToken) {
    let fresh = || (Backoff::default(), Backoff::up_to(LONGEST_REFUSED));
    let (mut lost, mut refused) = fresh();
    while !stop.is_cancelled() {
        let started = Instant::now();
        let Err(error) = server.session(stop).await else {
            return;
        };
        server.lost(&error);
        if started.elapsed() > GOOD_SESSION {
            (lost, refused) = fresh();
        }
        let pause = match error.needs_a_person() {
            true => refused.next_pause(),
            false => lost.next_pause(),
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

impl SessionError {
    /// Whether the session cannot succeed before a person has changed something at the broker.
    pub fn needs_a_person(&self) -> bool {
        match self {
            Self::Topology(TopologyError::Broker { source, .. }) | Self::Broker(source) => {
                matches!(source.kind(), ErrorKind::ProtocolError(error) if error.get_id() == ACCESS_REFUSED)
            }
            Self::Topology(_) => true,
            Self::Connect(_) | Self::Ended | Self::Redeliver => false,
        }
    }
}

impl Queue {
    /// Opens a session: connects, declares the topology and consumes.
    pub async fn open(&self) -> Result<Session, SessionError> {
        let connection = amqp::connect(&self.amqp, self.connection).await?;
        let declared = topology::declare(&connection, &self.names, self.role).await?;
        declared.warn();
        let channel = connection.create_channel().await?;
        channel
            .basic_qos(self.prefetch, BasicQosOptions::default())
            .await?;
        let messages = consume(&channel, &self.name).await?;
        Ok(Session {
            connection,
            channel,
            messages,
        })
    }
}

/// Consumes a queue on a channel.
///
/// # Errors
/// The broker refuses it or is away.
pub async fn consume(channel: &Channel, queue: &ShortString) -> Result<Messages, lapin::Error> {
    channel
        .basic_consume(
            queue.clone(),
            ShortString::default(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
}

impl Session {
    /// The next delivery.
    ///
    /// # Errors
    /// [`SessionError::Ended`] at the queue's end, or the connection failed.
    pub async fn next(&mut self) -> Result<Message, SessionError> {
        let message = self.messages.next().await;
        Ok(message.ok_or(SessionError::Ended)??)
    }
}

/// Closes a channel. Deliveries that are not acked go back to the queue.
pub async fn close(channel: &Channel) {
    let closing = channel.close(200, "stopping".into());
    match timeout(CLOSE_TIMEOUT, closing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "the channel did not close in order"),
        Err(_elapsed) => warn!("the broker did not close the channel in time"),
    }
}
