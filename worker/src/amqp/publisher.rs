//! Publishing messages with confirms, a batch at a time.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
};
use shared::amqp::{self, AmqpUrl, ConnectError};

/// A message to publish.
#[derive(Debug)]
pub struct Message {
    /// Tells it from the others of its batch.
    pub key: String,
    /// The routing key.
    pub routing_key: String,
    /// The bytes.
    pub body: Vec<u8>,
    /// The properties.
    pub properties: BasicProperties,
}

/// The broker's answers to a batch.
#[derive(Debug, Default)]
pub struct Answers {
    /// The keys of messages that the broker has.
    pub confirmed: Vec<String>,
    /// The keys of messages that no queue takes.
    pub unroutable: Vec<String>,
    /// Whether the broker refused at least one.
    pub refused: bool,
}

/// Why a publisher could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There is no channel.
    #[error("the broker gives no channel")]
    Channel(#[from] lapin::Error),
}

/// A channel with confirms to one exchange.
#[derive(Debug)]
pub struct Publisher {
    _connection: Connection,
    channel: Channel,
    exchange: ShortString,
    /// Tells the key of a message from its properties.
    key_of: fn(&BasicProperties) -> Option<String>,
}

impl Publisher {
    /// Connects under a name that the broker's operators see. `key_of` finds the key of a
    /// message in its properties.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(
        amqp: &AmqpUrl,
        name: &str,
        exchange: ShortString,
        key_of: fn(&BasicProperties) -> Option<String>,
    ) -> Result<Self, OpenError> {
        let connection = amqp::connect(amqp, name).await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(Self {
            _connection: connection,
            channel,
            exchange,
            key_of,
        })
    }

    /// Publishes all messages and waits for all answers.
    ///
    /// # Errors
    /// The channel failed before one message was confirmed.
    pub async fn publish(&self, messages: Vec<Message>) -> Result<Answers, lapin::Error> {
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let mut confirms = Vec::with_capacity(messages.len());
        for message in messages {
            let confirm = self
                .channel
                .basic_publish(
                    self.exchange.clone(),
                    ShortString::from(message.routing_key),
                    options,
                    &message.body,
                    message.properties,
                )
                .await?;
            confirms.push(async move { (message.key, confirm.await) });
        }
        let confirms = join_all(confirms).await;
        let returned = self.returned(&confirms);
        let (mut answers, mut lost) = (Answers::default(), None);
        for (key, confirm) in confirms {
            match confirm {
                Ok(Confirmation::Ack(_)) if returned.contains(&key) => answers.unroutable.push(key),
                Ok(Confirmation::Ack(_)) => answers.confirmed.push(key),
                Ok(Confirmation::Nack(_) | Confirmation::NotRequested) => answers.refused = true,
                Err(error) => lost = Some(error),
            }
        }
        match lost {
            Some(error) if answers.confirmed.is_empty() => Err(error),
            // The caller notes what was confirmed first.
            Some(_) => Ok(Answers {
                refused: true,
                ..answers
            }),
            None => Ok(answers),
        }
    }

    /// The keys of returned messages. lapin hands a returned message to whichever confirm
    /// completes next, so it is the returned message itself that says which it is.
    fn returned(
        &self,
        confirms: &[(String, Result<Confirmation, lapin::Error>)],
    ) -> BTreeSet<String> {
        let returned = confirms.iter().filter_map(|(_, confirm)| match confirm {
            Ok(Confirmation::Ack(returned) | Confirmation::Nack(returned)) => returned.as_ref(),
            Ok(Confirmation::NotRequested) | Err(_) => None,
        });
        returned
            .filter_map(|message| (self.key_of)(&message.delivery.properties))
            .collect()
    }
}
