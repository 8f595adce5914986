//! Publishing messages with confirms, a batch at a time.

use std::{collections::BTreeSet, slice};

use futures_util::future::join_all;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ErrorKind, PublisherConfirm,
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
    /// The keys of messages that the broker does not take as they are, such as one that is
    /// larger than its limit. It closes the channel on such a message.
    pub unacceptable: Vec<String>,
    /// Whether the broker refused at least one for now: a queue is full, or the channel failed.
    pub refused: bool,
}

impl Answers {
    /// Adds the answers to further messages.
    pub fn add(&mut self, other: Self) {
        self.confirmed.extend(other.confirmed);
        self.unroutable.extend(other.unroutable);
        self.unacceptable.extend(other.unacceptable);
        self.refused |= other.refused;
    }
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

/// Why nothing of a batch was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The channel that a message closed could not be opened again.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The channel failed before one message was confirmed.
    #[error("the broker failed")]
    Broker(#[from] lapin::Error),
}

/// A channel with confirms to one exchange.
#[derive(Debug)]
pub struct Publisher {
    amqp: AmqpUrl,
    name: String,
    connected: ConfirmChannel,
    exchange: ShortString,
    /// Tells the key of a message from its properties.
    key_of: fn(&BasicProperties) -> Option<String>,
}

/// A connection with one channel on which each message is confirmed, and given back where no
/// queue takes it.
#[derive(Debug)]
pub struct ConfirmChannel {
    /// The channel.
    pub channel: Channel,
    /// Its connection, which ends with this value.
    pub connection: Connection,
}

impl Publisher {
    /// Connects under a name that the broker's operators see. `key_of` finds the key of a
    /// message in its properties.
    pub async fn open(
        amqp: &AmqpUrl,
        name: &str,
        exchange: ShortString,
        key_of: fn(&BasicProperties) -> Option<String>,
    ) -> Result<Self, OpenError> {
        Ok(Self {
            connected: ConfirmChannel::open(amqp, name).await?,
            amqp: amqp.clone(),
            name: name.to_owned(),
            exchange,
            key_of,
        })
    }

    /// Publishes all messages and waits for all answers. If the broker closes the channel on
    /// one of them, those without an answer are published again, one by one: the broker does
    /// not say which it was, and the others are not to wait for it.
    pub async fn publish(&mut self, messages: Vec<Message>) -> Result<Answers, PublishError> {
        let (mut answers, lost) = self.send(&messages).await;
        match lost {
            None => Ok(answers),
            Some(error) if blames_a_message(&error) => {
                self.send_one_by_one(&messages, &mut answers).await?;
                Ok(answers)
            }
            Some(error) if answers.confirmed.is_empty() => Err(error.into()),
            // The caller notes what was confirmed first.
            Some(_) => Ok(Answers {
                refused: true,
                ..answers
            }),
        }
    }

    async fn send_one_by_one(
        &mut self,
        messages: &[Message],
        answers: &mut Answers,
    ) -> Result<(), OpenError> {
        let answered = [&answers.confirmed[..], &answers.unroutable].concat();
        for message in messages {
            if answered.contains(&message.key) {
                continue;
            }
            if !self.connected.channel.status().connected() {
                self.connected = ConfirmChannel::open(&self.amqp, &self.name).await?;
            }
            match self.send(slice::from_ref(message)).await {
                (answer, None) => answers.add(answer),
                (_, Some(error)) if blames_a_message(&error) => {
                    answers.unacceptable.push(message.key.clone());
                }
                // What was confirmed is noted, and the rest is left for another time.
                (_, Some(_)) => {
                    answers.refused = true;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Publishes messages and waits for their answers; an error that ended the channel stands
    /// beside the answers that came before.
    async fn send(&self, messages: &[Message]) -> (Answers, Option<lapin::Error>) {
        let (mut confirms, mut lost) = (Vec::with_capacity(messages.len()), None);
        for message in messages {
            let published = self.connected.publish(
                self.exchange.clone(),
                ShortString::from(message.routing_key.as_str()),
                &message.body,
                message.properties.clone(),
            );
            match published.await {
                Ok(confirm) => confirms.push(async move { (message.key.clone(), confirm.await) }),
                Err(error) => {
                    lost = Some(error);
                    break;
                }
            }
        }
        let confirms = join_all(confirms).await;
        let returned = self.returned(&confirms);
        let mut answers = Answers::default();
        for (key, confirm) in confirms {
            match confirm {
                Ok(Confirmation::Ack(_)) if returned.contains(&key) => answers.unroutable.push(key),
                Ok(Confirmation::Ack(_)) => answers.confirmed.push(key),
                Ok(Confirmation::Nack(_) | Confirmation::NotRequested) => answers.refused = true,
                // The first that names a cause tells most.
                Err(error) if lost.as_ref().is_some_and(blames_a_message) => drop(error),
                Err(error) => lost = Some(error),
            }
        }
        (answers, lost)
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

impl ConfirmChannel {
    /// Connects under a name that the broker's operators see.
    pub async fn open(amqp: &AmqpUrl, name: &str) -> Result<Self, OpenError> {
        let connection = amqp::connect(amqp, name).await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(Self {
            channel,
            connection,
        })
    }

    /// Sends a message. What it gives is the broker's confirm, to wait for.
    pub async fn publish(
        &self,
        exchange: ShortString,
        routing_key: ShortString,
        body: &[u8],
        properties: BasicProperties,
    ) -> Result<PublisherConfirm, lapin::Error> {
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let published =
            self.channel
                .basic_publish(exchange, routing_key, options, body, properties);
        published.await
    }
}

/// Whether the broker ended the channel or the connection for what a message is, and would do so
/// again.
fn blames_a_message(error: &lapin::Error) -> bool {
    const CONTENT_TOO_LARGE: u16 = 311;
    const PRECONDITION_FAILED: u16 = 406;
    const FRAME_ERROR: u16 = 501;
    const SYNTAX_ERROR: u16 = 502;
    const BLAMING: [u16; 4] = [
        CONTENT_TOO_LARGE,
        PRECONDITION_FAILED,
        FRAME_ERROR,
        SYNTAX_ERROR,
    ];
    matches!(error.kind(), ErrorKind::ProtocolError(error) if BLAMING.contains(&error.get_id()))
}
