//! Sending an event that cannot be applied to the dead letters: the same bytes
//! and properties, and why.

use std::time::Duration;

use lapin::{
    BasicProperties, Channel, Confirmation, Connection,
    message::Delivery,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, ShortString},
};

use shared::{
    amqp::{self, AmqpUrl, ConnectError},
    clock,
    topology::Names,
};

use crate::{events::rejection::Rejection, properties::that_fit};

/// The header with the reason's code.
pub const REASON: &str = "dead_reason";
/// The header with the reason in a sentence.
pub const DETAIL: &str = "dead_detail";
/// The header with the time of the verdict, in milliseconds since 1970, long.
pub const AT: &str = "dead_at";

/// How long the broker may take for a dead letter. One that is short of memory
/// or disk takes none until it has room again, and nothing else may wait for that.
const BURY_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a dead letter was not kept by the broker.
#[derive(Debug, thiserror::Error)]
pub enum DeadError {
    /// The channel or the connection failed.
    #[error("the dead letter could not be published")]
    Channel(#[from] lapin::Error),
    /// The broker did not take it, or has no queue for it.
    #[error("the broker did not keep the dead letter: {0}")]
    NotKept(&'static str),
    /// The broker takes nothing now, or has not answered in time. It may keep the
    /// dead letter later.
    #[error("the broker did not take the dead letter in time")]
    Slow,
}

/// Why there is no way to the dead letters.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There is no channel.
    #[error(transparent)]
    Channel(#[from] lapin::Error),
}

/// The way to the dead letters: a connection of its own, because a broker that
/// is short of something stops reading from whoever publishes, acks included.
#[derive(Debug)]
pub struct Dead {
    connection: Connection,
    channel: Channel,
    exchange: ShortString,
}

impl Dead {
    /// Connects and opens a channel with confirms.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(amqp: &AmqpUrl, names: &Names) -> Result<Self, OpenError> {
        let connection = amqp::connect(amqp, "dialoom-worker-burying").await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(Self {
            connection,
            channel,
            exchange: names.dead_exchange.clone(),
        })
    }

    /// Publishes a delivery with this body as a dead letter and waits until the broker has it.
    ///
    /// # Errors
    /// [`DeadError`]; the delivery must not be acked then.
    pub async fn bury(
        &self,
        delivery: &Delivery,
        body: &[u8],
        why: &Rejection,
    ) -> Result<(), DeadError> {
        if self.connection.status().blocked() {
            return Err(DeadError::Slow);
        }
        let publish = self.publish(delivery, body, why);
        match tokio::time::timeout(BURY_TIMEOUT, publish).await {
            Ok(kept) => kept,
            Err(_elapsed) => Err(DeadError::Slow),
        }
    }

    async fn publish(
        &self,
        delivery: &Delivery,
        body: &[u8],
        why: &Rejection,
    ) -> Result<(), DeadError> {
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let confirmation = self
            .channel
            .basic_publish(
                self.exchange.clone(),
                delivery.routing_key.clone(),
                options,
                body,
                properties(&delivery.properties, why),
            )
            .await?
            .await?;
        match confirmation {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => Err(DeadError::NotKept("there is no queue for it")),
            Confirmation::Nack(_) => Err(DeadError::NotKept("it was refused")),
            Confirmation::NotRequested => Err(DeadError::NotKept("confirms are off")),
        }
    }
}

fn properties(original: &BasicProperties, why: &Rejection) -> BasicProperties {
    let headers = original.headers().as_ref();
    let mut headers = headers.map(that_fit).unwrap_or_default();
    let text = |text: String| AMQPValue::LongString(text.into());
    headers.insert(REASON.into(), text(why.code().to_owned()));
    headers.insert(DETAIL.into(), text(why.to_string()));
    headers.insert(AT.into(), AMQPValue::LongLongInt(clock::now_unix_millis()));
    original.clone().with_headers(headers)
}
