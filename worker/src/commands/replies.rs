//! Sends answers to callers.
//!
//! Where an answer goes is the caller's word, and RabbitMQ closes the connection on which a
//! direct reply goes to a name that it cannot take apart. So answers have a connection of their
//! own, and one that ended it is tried once more on a connection that no other answer uses:
//! then it ends nothing but that.

use std::sync::Arc;

use lapin::{
    BasicProperties, Confirmation,
    options::QueueDeclareOptions,
    types::{FieldTable, ShortString},
};
use shared::amqp::AmqpUrl;
use tokio::sync::Mutex;
use tracing::warn;

use crate::amqp::{
    consumer,
    publisher::{ConfirmChannel, OpenError},
};

/// The connection's name, which the broker's operators see.
const CONNECTION: &str = "dialoom-worker-answers";
/// How the name of a caller begins that takes its answers without a queue.
const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to.";

/// Sends answers.
#[derive(Debug)]
pub(super) struct Replies {
    amqp: AmqpUrl,
    /// The connection that answers use until one of them ends it.
    current: Mutex<Arc<ConfirmChannel>>,
}

/// Where an answer went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The broker has it, for the caller.
    ToCaller,
    /// Nobody is there to take it.
    ToNobody,
}

impl Replies {
    /// Connects.
    ///
    /// # Errors
    /// The broker is away.
    pub(super) async fn open(amqp: &AmqpUrl) -> Result<Self, OpenError> {
        let current = ConfirmChannel::open(amqp, CONNECTION).await?;
        Ok(Self {
            amqp: amqp.clone(),
            current: Mutex::new(Arc::new(current)),
        })
    }

    /// Publishes an answer and waits for the broker to have it.
    ///
    /// # Errors
    /// The broker is away.
    pub(super) async fn send(
        &self,
        reply_to: &ShortString,
        correlation_id: Option<&ShortString>,
        body: &[u8],
    ) -> Result<Sent, OpenError> {
        let current = Arc::clone(&*self.current.lock().await);
        if let Ok(sent) = answer(&current, reply_to, correlation_id, body).await {
            return Ok(sent);
        }
        // This answer has ended the connection, or another one has.
        let own = ConfirmChannel::open(&self.amqp, CONNECTION).await?;
        match answer(&own, reply_to, correlation_id, body).await {
            Ok(sent) => {
                *self.current.lock().await = Arc::new(own);
                Ok(sent)
            }
            // Where the broker is away, the command cannot be acked either, and comes again.
            Err(error) => {
                warn!(%error, "the broker does not take the answer to a command; it gets none");
                Ok(Sent::ToNobody)
            }
        }
    }
}

/// Publishes an answer on this connection.
async fn answer(
    connected: &ConfirmChannel,
    reply_to: &ShortString,
    correlation_id: Option<&ShortString>,
    body: &[u8],
) -> Result<Sent, lapin::Error> {
    let mut properties = BasicProperties::default().with_content_type("application/json".into());
    if let Some(correlation_id) = correlation_id {
        properties = properties.with_correlation_id(correlation_id.clone());
    }
    let (exchange, key) = (ShortString::default(), reply_to.clone());
    let published = connected.publish(exchange, key, body, properties).await?;
    Ok(match published.await? {
        Confirmation::Ack(None) | Confirmation::NotRequested => Sent::ToCaller,
        Confirmation::Ack(Some(_)) => returned(connected, reply_to).await?,
        // Its queue is full.
        Confirmation::Nack(_) => Sent::ToNobody,
    })
}

/// Where an answer went that came back. RabbitMQ up to 4.1 gives back every answer to a
/// caller that uses its direct reply-to, also one that it delivered; such a caller is there
/// as long as its name can be looked at.
async fn returned(
    connected: &ConfirmChannel,
    reply_to: &ShortString,
) -> Result<Sent, lapin::Error> {
    if !reply_to.as_str().starts_with(DIRECT_REPLY_TO) {
        return Ok(Sent::ToNobody);
    }
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    // A channel of its own, which the broker closes where there is nobody.
    let channel = connected.connection.create_channel().await?;
    let looked = channel
        .queue_declare(reply_to.clone(), options, FieldTable::default())
        .await;
    if looked.is_err() {
        return Ok(Sent::ToNobody);
    }
    consumer::close(&channel).await;
    Ok(Sent::ToCaller)
}
