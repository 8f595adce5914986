//! A client that sends commands over the broker, as the main app does.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, Consumer,
    options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions},
    types::{FieldTable, ShortString},
};
use serde_json::Value;

use crate::{
    servers::rabbitmq,
    test_servers::TestBroker,
    wait::{self, Seen},
};

/// Where the broker gives a caller its answers without a queue.
const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// Bound for the queue of commands and for each answer.
const BOUND: Duration = Duration::from_secs(60);

/// A client that asks over the broker.
#[derive(Debug)]
pub struct Caller {
    /// The channel that commands are sent by.
    pub channel: Channel,
    _connection: Connection,
    replies: Consumer,
    exchange: String,
}

impl Caller {
    /// Connects, and waits until the queue of commands is there, so that none is lost.
    ///
    /// # Errors
    /// The broker refuses it, or nobody made the queue.
    pub async fn new(broker: &TestBroker) -> Result<Self> {
        let queue = broker.commands();
        broker.until_there(&queue, BOUND).await?;
        Self::connect(broker.url(), &queue).await
    }

    /// Connects to the broker at this address, whose exchange of commands has this name.
    ///
    /// # Errors
    /// The broker refuses it, or is away.
    pub async fn connect(url: &str, exchange: &str) -> Result<Self> {
        let connection = rabbitmq::connect(url).await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let replies = channel
            .basic_consume(
                DIRECT_REPLY_TO.into(),
                ShortString::default(),
                options,
                FieldTable::default(),
            )
            .await?;
        Ok(Self {
            channel,
            _connection: connection,
            replies,
            exchange: exchange.to_owned(),
        })
    }

    /// Sends bytes to the exchange of commands, again while no queue is bound to it: a worker
    /// that starts makes its queue before it binds it.
    ///
    /// # Errors
    /// The broker does not take them.
    pub async fn send(&self, key: &str, body: &[u8], properties: BasicProperties) -> Result<()> {
        wait::until(
            "a queue of commands that is bound",
            BOUND,
            async || match self.publish(key, body, properties.clone()).await {
                Ok(Confirmation::Ack(Some(_))) => Seen::NotYet("no queue takes it".to_owned()),
                Ok(_) => Seen::Reached(()),
                Err(error) => Seen::Never(error.to_string()),
            },
        )
        .await
    }

    async fn publish(
        &self,
        key: &str,
        body: &[u8],
        properties: BasicProperties,
    ) -> lapin::Result<Confirmation> {
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let exchange = self.exchange.as_str().into();
        let published = self
            .channel
            .basic_publish(exchange, key.into(), options, body, properties);
        published.await?.await
    }

    /// The next answer, with its correlation id.
    ///
    /// # Errors
    /// None came in time, or it is no JSON.
    pub async fn answer(&mut self) -> Result<(String, Value)> {
        let answer = tokio::time::timeout(BOUND, self.replies.next()).await;
        let answer = answer
            .context("no answer came")?
            .context("the channel ended")??;
        let id = answer.properties.correlation_id().clone();
        let id = id.unwrap_or_default().to_string();
        Ok((id, serde_json::from_slice(&answer.data)?))
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// As [`Caller::answer`].
    pub async fn ask(&mut self, key: &str, body: &Value) -> Result<Value> {
        self.send(key, body.to_string().as_bytes(), asking("1"))
            .await?;
        Ok(self.answer().await?.1)
    }
}

/// The properties of a command that wants an answer.
#[must_use]
pub fn asking(correlation_id: &str) -> BasicProperties {
    BasicProperties::default()
        .with_reply_to(DIRECT_REPLY_TO.into())
        .with_correlation_id(correlation_id.into())
}
