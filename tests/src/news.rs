//! A client that hears the news for the main app, by a durable queue of its own, as the main
//! app does.

use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use lapin::{
    Channel, Connection, Consumer, ExchangeKind,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions,
        QueueBindOptions, QueueDeclareOptions,
    },
    types::{FieldTable, ShortString},
};
use serde_json::Value;

use crate::servers::rabbitmq;

/// The most news in hand: one, so that their order stays.
const PREFETCH: u16 = 1;

/// A client that hears news.
#[derive(Debug)]
pub struct Listener {
    _connection: Connection,
    _channel: Channel,
    messages: Consumer,
}

/// One message.
#[derive(Debug)]
pub struct News {
    /// What the message says.
    pub data: Value,
    delivery: Delivery,
}

impl Listener {
    /// Connects to the broker at this address, and hears the news under this prefix whose
    /// kind matches the pattern. The queue stays when the client goes.
    ///
    /// # Errors
    /// The broker refuses it, or is away.
    pub async fn connect(url: &str, prefix: &str, pattern: &str) -> Result<Self> {
        let connection = rabbitmq::connect(url).await?;
        let channel = connection.create_channel().await?;
        let queue = format!("{prefix}app.news");
        bind(
            &channel,
            &format!("{prefix}dialoom.changes"),
            &queue,
            pattern,
        )
        .await?;
        channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?;
        let (tag, options) = (ShortString::default(), BasicConsumeOptions::default());
        let messages = channel
            .basic_consume(queue.into(), tag, options, FieldTable::default())
            .await?;
        Ok(Self {
            _connection: connection,
            _channel: channel,
            messages,
        })
    }

    /// The next news.
    ///
    /// # Errors
    /// The broker has gone, or the message is no JSON.
    pub async fn next(&mut self) -> Result<News> {
        let delivery = self.messages.next().await;
        let delivery = delivery.context("the channel ended")??;
        let mut body: Value = serde_json::from_slice(&delivery.data)?;
        Ok(News {
            data: body["data"].take(),
            delivery,
        })
    }
}

impl News {
    /// Takes the message from the queue: it is handled.
    ///
    /// # Errors
    /// The broker has gone: the message comes again.
    pub async fn handled(&self) -> Result<()> {
        self.delivery.ack(BasicAckOptions::default()).await?;
        Ok(())
    }
}

/// Makes the exchange of news, and a durable queue that is bound to it by a pattern of kinds.
///
/// # Errors
/// The broker refuses it.
pub async fn bind(channel: &Channel, exchange: &str, queue: &str, pattern: &str) -> Result<()> {
    let (durable, kind) = (
        ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        },
        ExchangeKind::Topic,
    );
    channel
        .exchange_declare(exchange.into(), kind, durable, FieldTable::default())
        .await?;
    let (options, table) = (QueueDeclareOptions::durable(), FieldTable::default());
    channel.queue_declare(queue.into(), options, table).await?;
    let (options, table) = (QueueBindOptions::default(), FieldTable::default());
    channel
        .queue_bind(
            queue.into(),
            exchange.into(),
            pattern.into(),
            options,
            table,
        )
        .await?;
    Ok(())
}
