//! The consumer of commands on a broker, and a client of it.

use futures_util::StreamExt;
use harness::{
    servers::rabbitmq,
    test_servers::TestBroker,
    wait::{self, Seen},
};
use lapin::{
    BasicProperties, Channel, Connection, Consumer,
    options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions},
    types::{FieldTable, ShortString},
};
use serde_json::Value;
use shared::{
    amqp::AmqpUrl,
    topology::{Names, Role},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::{
    amqp::consumer::Queue,
    commands::{
        consumer::{CommandConsumer, PREFETCH},
        service::CommandService,
    },
    metrics::commands::CommandMetrics,
};

use super::running::BOUND;

/// A consumer of commands that runs in this process.
pub struct Answering {
    pub metrics: CommandMetrics,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Answering {
    pub fn start(broker: &TestBroker, service: &CommandService) -> Self {
        let names = Names::new(broker.prefix()).unwrap();
        let (stop, metrics) = (CancellationToken::new(), CommandMetrics::default());
        let consumer = CommandConsumer {
            queue: Queue {
                amqp: AmqpUrl::parse(broker.url()).unwrap(),
                name: names.commands.clone(),
                names,
                connection: "test",
                prefetch: PREFETCH,
                role: Role::Commands,
            },
            service: service.clone(),
            metrics: metrics.clone(),
        };
        let token = stop.clone();
        let task = tokio::spawn(async move { consumer.run(&token).await });
        Self {
            metrics,
            stop,
            task,
        }
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// It dies in the middle of what it does.
    pub fn die(self) {
        self.task.abort();
    }
}

/// A client that asks over the broker.
pub struct Caller {
    pub channel: Channel,
    _connection: Connection,
    replies: Consumer,
    prefix: String,
}

impl Caller {
    /// Waits until the exchange of commands is there, so that no command is lost.
    pub async fn new(broker: &TestBroker) -> Self {
        let queue = format!("{}stripe.commands", broker.prefix());
        wait::until("the queue of commands", BOUND, async || {
            match broker.depth(&queue).await {
                Ok(_) => Seen::Reached(()),
                Err(error) => Seen::NotYet(format!("{error:#}")),
            }
        })
        .await
        .unwrap();
        let connection = rabbitmq::connect(broker.url()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .unwrap();
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let replies = channel
            .basic_consume(
                "amq.rabbitmq.reply-to".into(),
                ShortString::default(),
                options,
                FieldTable::default(),
            )
            .await
            .unwrap();
        Self {
            channel,
            _connection: connection,
            replies,
            prefix: broker.prefix().to_owned(),
        }
    }

    /// Sends bytes to the exchange of commands.
    pub async fn send(&self, key: &str, body: &[u8], properties: BasicProperties) {
        let exchange = format!("{}stripe.commands", self.prefix);
        self.channel
            .basic_publish(
                exchange.into(),
                key.into(),
                BasicPublishOptions::default(),
                body,
                properties,
            )
            .await
            .unwrap()
            .await
            .unwrap();
    }

    /// The next answer, with its correlation id.
    pub async fn answer(&mut self) -> (String, Value) {
        let answer = tokio::time::timeout(BOUND, self.replies.next()).await;
        let answer = answer.expect("no answer came").unwrap().unwrap();
        let id = answer
            .properties
            .correlation_id()
            .clone()
            .unwrap_or_default();
        (
            id.to_string(),
            serde_json::from_slice(&answer.data).unwrap(),
        )
    }

    /// Asks, and waits for the answer.
    pub async fn ask(&mut self, key: &str, body: &Value) -> Value {
        self.send(key, body.to_string().as_bytes(), asking("1"))
            .await;
        self.answer().await.1
    }
}

/// The properties of a command that wants an answer.
pub fn asking(correlation_id: &str) -> BasicProperties {
    BasicProperties::default()
        .with_reply_to("amq.rabbitmq.reply-to".into())
        .with_correlation_id(correlation_id.into())
}
