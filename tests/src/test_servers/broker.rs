//! Exchanges and queues of its own for a test.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ExchangeKind,
    message::Delivery,
    options::{
        BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
        ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
        QueueDeleteOptions,
    },
    types::FieldTable,
};

use super::{amqp_url, clean_up, unique_prefix};
use crate::{
    news,
    servers::rabbitmq,
    wait::{self, Seen},
};

/// A prefix of its own for `AMQP_PREFIX`, with the exchanges and queues that the
/// services declare under it. They are deleted when this value is dropped.
///
/// Every call opens a connection of its own, so that a broker may be killed and
/// started again in between.
#[derive(Debug)]
pub struct TestBroker {
    url: String,
    prefix: String,
    spies: Mutex<Vec<String>>,
}

impl TestBroker {
    /// A prefix of its own on the broker of `AMQP_URL`.
    #[must_use]
    pub fn new(label: &str) -> Self {
        Self::on(&amqp_url(), label)
    }

    /// A prefix of its own on this broker.
    #[must_use]
    pub fn on(url: &str, label: &str) -> Self {
        Self {
            url: url.to_owned(),
            prefix: unique_prefix(label),
            spies: Mutex::default(),
        }
    }

    /// Address of the broker, for `AMQP_URL`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The prefix, for `AMQP_PREFIX`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The exchange that `ingest` publishes to.
    #[must_use]
    pub fn events_exchange(&self) -> String {
        format!("{}stripe.events", self.prefix)
    }

    /// The queue that the worker reads.
    #[must_use]
    pub fn worker_queue(&self) -> String {
        format!("{}stripe.events.worker", self.prefix)
    }

    /// The exchange and the queue of dead letters, which have the same name.
    #[must_use]
    pub fn dead(&self) -> String {
        format!("{}stripe.dead", self.prefix)
    }

    /// The exchange and the queue of commands, which have the same name.
    #[must_use]
    pub fn commands(&self) -> String {
        format!("{}stripe.commands", self.prefix)
    }

    /// The exchange of news for the main app.
    #[must_use]
    pub fn changes(&self) -> String {
        format!("{}dialoom.changes", self.prefix)
    }

    /// How many messages wait in a queue; those that a consumer holds unacked are
    /// not counted.
    ///
    /// # Errors
    /// When there is no such queue.
    pub async fn depth(&self, queue: &str) -> Result<u32> {
        let (_connection, channel) = self.channel().await?;
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let state = channel
            .queue_declare(queue.into(), options, FieldTable::default())
            .await;
        Ok(state
            .with_context(|| format!("the queue {queue}"))?
            .message_count())
    }

    /// Waits until `wanted` messages wait in a queue.
    ///
    /// # Errors
    /// When they do not within `bound`; the error tells the last count.
    pub async fn until_depth(&self, queue: &str, wanted: u32, bound: Duration) -> Result<()> {
        wait::until(
            format!("{wanted} messages in {queue}"),
            bound,
            async || match self.depth(queue).await {
                Ok(depth) if depth == wanted => Seen::Reached(()),
                Ok(depth) => Seen::NotYet(format!("{depth} messages")),
                Err(error) => Seen::NotYet(format!("{error:#}")),
            },
        )
        .await
    }

    /// Waits until a queue is there.
    ///
    /// # Errors
    /// When it is not within `bound`.
    pub async fn until_there(&self, queue: &str, bound: Duration) -> Result<()> {
        wait::until(format!("the queue {queue}"), bound, async || {
            match self.depth(queue).await {
                Ok(_) => Seen::Reached(()),
                Err(error) => Seen::NotYet(format!("{error:#}")),
            }
        })
        .await
    }

    /// Takes all messages that wait in a queue out of it.
    ///
    /// # Errors
    /// When there is no such queue.
    pub async fn take_all(&self, queue: &str) -> Result<Vec<Delivery>> {
        let (_connection, channel) = self.channel().await?;
        let mut taken = Vec::new();
        while let Some(message) = channel
            .basic_get(queue.into(), BasicGetOptions::default())
            .await?
        {
            message.delivery.ack(BasicAckOptions::default()).await?;
            taken.push(message.delivery);
        }
        Ok(taken)
    }

    /// Makes a queue that gets a copy of each event of these types that is published
    /// to the events' exchange from now on, and gives its name.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn spy(&self, types: impl IntoIterator<Item = &str>) -> Result<String> {
        let (_connection, channel) = self.channel().await?;
        let exchange = self.events_exchange();
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        channel
            .exchange_declare(
                exchange.as_str().into(),
                ExchangeKind::Direct,
                durable,
                FieldTable::default(),
            )
            .await?;
        let queue = self.new_spy();
        self.bind(&channel, &queue, &exchange, types).await?;
        Ok(queue)
    }

    /// Makes a queue that gets the news for the main app whose kind matches a pattern, and gives
    /// its name.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn hear(&self, pattern: &str) -> Result<String> {
        let (_connection, channel) = self.channel().await?;
        let queue = self.new_spy();
        news::bind(&channel, &self.changes(), &queue, pattern).await?;
        Ok(queue)
    }

    /// A name of a queue that is deleted with the others.
    fn new_spy(&self) -> String {
        let mut spies = self.spies.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = format!("{}spy-{}", self.prefix, spies.len());
        spies.push(queue.clone());
        queue
    }

    /// Makes a durable queue and binds it.
    async fn bind(
        &self,
        channel: &Channel,
        queue: &str,
        exchange: &str,
        keys: impl IntoIterator<Item = &str>,
    ) -> Result<()> {
        let (options, table) = (QueueDeclareOptions::durable(), FieldTable::default());
        channel.queue_declare(queue.into(), options, table).await?;
        for key in keys {
            let (options, table) = (QueueBindOptions::default(), FieldTable::default());
            channel
                .queue_bind(queue.into(), exchange.into(), key.into(), options, table)
                .await?;
        }
        Ok(())
    }

    /// Publishes to the events' exchange as mandatory and tells the broker's
    /// answer. The properties are sent as they are given.
    ///
    /// # Errors
    /// When the broker cannot be reached or the exchange is missing.
    pub async fn publish(
        &self,
        routing_key: &str,
        body: &[u8],
        properties: BasicProperties,
    ) -> Result<Confirmation> {
        let (_connection, channel) = self.channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let exchange = self.events_exchange().into();
        let published = channel
            .basic_publish(exchange, routing_key.into(), options, body, properties)
            .await?;
        Ok(published.await?)
    }

    /// The connection must be kept as long as the channel is used.
    async fn channel(&self) -> Result<(Connection, Channel)> {
        let connection = rabbitmq::connect(&self.url)
            .await
            .context("cannot connect to the broker of AMQP_URL")?;
        let channel = connection.create_channel().await?;
        Ok((connection, channel))
    }

    async fn delete_all(&self) -> Result<()> {
        let (_connection, channel) = self.channel().await?;
        let spies = self
            .spies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        // Deleting what is not there is no error to RabbitMQ.
        let own = [self.worker_queue(), self.dead(), self.commands()];
        let expired = format!("{}.expired", self.commands());
        let app = format!("{}app.news", self.prefix);
        for queue in spies.into_iter().chain(own).chain([expired, app]) {
            channel
                .queue_delete(queue.into(), QueueDeleteOptions::default())
                .await?;
        }
        let exchanges = [
            self.events_exchange(),
            self.dead(),
            self.commands(),
            self.changes(),
        ];
        for exchange in exchanges {
            channel
                .exchange_delete(exchange.into(), ExchangeDeleteOptions::default())
                .await?;
        }
        Ok(())
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        clean_up(&self.prefix, self.delete_all());
    }
}
