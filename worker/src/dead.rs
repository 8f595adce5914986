//! Sending an event that cannot be applied to the dead letters: the same bytes
//! and properties, and why.

use lapin::{
    BasicProperties, Channel, Confirmation,
    message::Delivery,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, ShortString},
};

use shared::clock;

use crate::events::rejection::Rejection;

/// The header with the reason's code.
pub const REASON: &str = "dead_reason";
/// The header with the reason in a sentence.
pub const DETAIL: &str = "dead_detail";
/// The header with the time of the verdict, in milliseconds since 1970, long.
pub const AT: &str = "dead_at";

/// Why a dead letter was not kept by the broker.
#[derive(Debug, thiserror::Error)]
pub enum DeadError {
    /// The channel or the connection failed.
    #[error("the dead letter could not be published")]
    Channel(#[from] lapin::Error),
    /// The broker did not take it, or has no queue for it.
    #[error("the broker did not keep the dead letter: {0}")]
    NotKept(&'static str),
}

/// The channel for dead letters.
#[derive(Debug)]
pub struct Dead {
    channel: Channel,
    exchange: ShortString,
}

impl Dead {
    /// Prepares a channel with confirms.
    ///
    /// # Errors
    /// As the broker says.
    pub async fn on(channel: Channel, exchange: ShortString) -> lapin::Result<Self> {
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(Self { channel, exchange })
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
    let mut headers = original.headers().clone().unwrap_or_default();
    let text = |text: String| AMQPValue::LongString(text.into());
    headers.insert(REASON.into(), text(why.code().to_owned()));
    headers.insert(DETAIL.into(), text(why.to_string()));
    headers.insert(AT.into(), AMQPValue::LongLongInt(clock::now_unix_millis()));
    original.clone().with_headers(headers)
}
