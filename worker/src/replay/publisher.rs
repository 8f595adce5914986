//! Publishing a batch with confirms.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
};
use shared::{
    amqp::{self, AmqpUrl},
    topology::Names,
};

use super::ReplayError;
use crate::ticket;

/// A message to send again.
pub(super) struct Message {
    /// The item of the run.
    pub(super) item: String,
    /// The routing key.
    pub(super) routing_key: String,
    /// The bytes.
    pub(super) body: Vec<u8>,
    /// The properties, with the run's ticket.
    pub(super) properties: BasicProperties,
}

/// What the broker said to a batch.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// It has these.
    pub(super) confirmed: Vec<String>,
    /// It has no queue for these.
    pub(super) unroutable: Vec<String>,
    /// It refused at least one.
    pub(super) refused: bool,
}

/// A channel with confirms.
pub(super) struct Publisher {
    _connection: Connection,
    channel: Channel,
    exchange: ShortString,
}

impl Publisher {
    pub(super) async fn connect(amqp: &AmqpUrl, names: &Names) -> Result<Self, ReplayError> {
        let connection = amqp::connect(amqp, "dialoom-replay").await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(Self {
            _connection: connection,
            channel,
            exchange: names.events.clone(),
        })
    }

    /// Publishes all and waits for all answers.
    pub(super) async fn publish(&self, messages: Vec<Message>) -> Result<Sent, ReplayError> {
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
            confirms.push(async move { (message.item, confirm.await) });
        }
        let answers = join_all(confirms).await;
        // lapin hands a returned message to whichever confirm completes next, so it
        // is the returned message itself that says which it is.
        let returned: BTreeSet<String> = answers
            .iter()
            .filter_map(|(_, answer)| match answer {
                Ok(Confirmation::Ack(returned) | Confirmation::Nack(returned)) => returned.as_ref(),
                Ok(Confirmation::NotRequested) | Err(_) => None,
            })
            .filter_map(|message| ticket::read(&message.delivery.properties))
            .map(|ticket| ticket.item)
            .collect();
        let mut sent = Sent::default();
        let mut lost = None;
        for (item, answer) in answers {
            match answer {
                Ok(Confirmation::Ack(_)) if returned.contains(&item) => sent.unroutable.push(item),
                Ok(Confirmation::Ack(_)) => sent.confirmed.push(item),
                Ok(Confirmation::Nack(_) | Confirmation::NotRequested) => sent.refused = true,
                Err(error) => lost = Some(error),
            }
        }
        match lost {
            Some(error) if sent.confirmed.is_empty() => Err(error.into()),
            // What was confirmed goes on record first.
            Some(_) => Ok(Sent {
                refused: true,
                ..sent
            }),
            None => Ok(sent),
        }
    }
}
