//! Takes commands from their queue and sends the answers.
//!
//! Each command is done by a task of its own and acked when its answer is with the broker.
//! One whose worker dies comes again, and goes on where it stopped.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{FutureExt, Stream, StreamExt, future::ready, stream};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection,
    message::Delivery,
    options::{BasicAckOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use serde_json::Value;
use shared::{telemetry::report, topology::TopologyError};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    command::Name, error::CommandError, metrics::CommandMetrics, service::CommandService, wire,
};
use crate::amqp::consumer::{self, Queue, Serve, Session, SessionError};

/// The most commands in hand. One that waits for Stripe costs some kilobytes.
pub const PREFETCH: u16 = 200;
/// Connections to the database that commands have of their own.
pub const CONNECTIONS: u32 = 6;
/// How long a command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(50);
/// How the name of a caller begins that takes its answers without a queue.
const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to.";
/// So many deliveries of a command ended with a worker that stopped: it is given up.
const MOST_DELIVERIES: i64 = 5;

/// Consumes the queue of commands.
#[derive(Debug)]
pub struct CommandConsumer {
    /// The queue.
    pub queue: Queue,
    /// Does the commands.
    pub service: CommandService,
    /// What is counted.
    pub metrics: CommandMetrics,
}

/// What the tasks of one session share.
struct Tasks {
    service: CommandService,
    metrics: CommandMetrics,
    connection: Connection,
    /// The channel of the answers.
    answers: Channel,
    /// Queues of this deployment, which no answer may be sent to.
    own: Vec<ShortString>,
}

/// Whether a command came in time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    InTime,
    TooLate,
}

impl CommandConsumer {
    /// Consumes until `stop`, over as many connections as it takes.
    ///
    /// # Errors
    /// A topology that differs from ours: no retry mends it.
    pub async fn run(&self, stop: &CancellationToken) -> Result<(), TopologyError> {
        consumer::serve(self, stop).await
    }

    async fn tasks(&self, connection: Connection) -> Result<Arc<Tasks>, SessionError> {
        let answers = connection.create_channel().await?;
        answers
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        let names = &self.queue.names;
        Ok(Arc::new(Tasks {
            service: self.service.clone(),
            metrics: self.metrics.clone(),
            connection,
            answers,
            own: vec![
                names.worker.clone(),
                names.dead_queue.clone(),
                names.commands.clone(),
                names.expired_commands.clone(),
            ],
        }))
    }
}

impl Serve for CommandConsumer {
    async fn session(&self, stop: &CancellationToken) -> Result<(), SessionError> {
        let Session {
            connection,
            channel,
            messages,
        } = self.queue.open().await?;
        let expired = &self.queue.names.expired_commands;
        let expired = consumer::consume(&channel, expired).await?;
        let tasks = self.tasks(connection).await?;
        // Where one queue's consumer ends, so does the session.
        let mut commands = stream::select(
            ending(messages.map(|message| (message, Came::InTime))),
            ending(expired.map(|message| (message, Came::TooLate))),
        );
        info!("taking commands");
        let mut in_hand = JoinSet::new();
        let ended = loop {
            let (message, came) = tokio::select! {
                () = stop.cancelled() => break Ok(()),
                next = commands.next() => match next.flatten() {
                    Some((Ok(message), came)) => (message, came),
                    Some((Err(error), _)) => break Err(error.into()),
                    None => break Err(SessionError::Ended),
                },
                Some(done) = in_hand.join_next() => match done {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => break Err(SessionError::Broker(error)),
                    // It caught its own panics, so this is a mistake in the catching.
                    Err(_panicked) => break Err(SessionError::Redeliver),
                },
            };
            in_hand.spawn(Arc::clone(&tasks).take(message, came));
        };
        if ended.is_ok() {
            // What is in hand is finished; what is not comes again.
            while in_hand.join_next().await.is_some() {}
            consumer::close(&channel).await;
        }
        self.metrics.in_hand.set(0);
        ended
    }

    fn lost(&self, error: &SessionError) {
        warn!(reason = %report(error), "the consumer of commands lost the broker");
    }
}

impl Tasks {
    /// One command, from its delivery to its ack.
    async fn take(self: Arc<Self>, message: Delivery, came: Came) -> Result<(), lapin::Error> {
        self.metrics.in_hand.inc();
        let answered = self.answer(&message, came).await;
        self.metrics.in_hand.dec();
        answered?;
        message.ack(BasicAckOptions::default()).await?;
        Ok(())
    }

    async fn answer(&self, message: &Delivery, came: Came) -> Result<(), lapin::Error> {
        let started = Instant::now();
        let request = wire::read(message.routing_key.as_str(), &message.data);
        let (name, id, result) = match request {
            Ok(request) => {
                let (name, id) = (Name::read(&request.name), request.id.clone());
                let result = match (&name, came) {
                    // The routing key, which may be its name, is no longer the sender's.
                    (_, Came::TooLate) => Err(CommandError::expired()),
                    (Err(error), _) => Err(error.clone()),
                    (Ok(_), _) if deliveries(message) >= MOST_DELIVERIES => {
                        Err(CommandError::interrupted())
                    }
                    (Ok(name), Came::InTime) => {
                        Box::pin(in_time(self.service.run(*name, request.data))).await
                    }
                };
                (name.map_or("unknown", Name::as_str), id, result)
            }
            Err(error) => ("unknown", None, Err(error)),
        };
        let outcome = result.as_ref().err().map_or("ok", |error| error.code);
        info!(command = name, outcome, "a command was answered");
        self.metrics.answered(name, outcome, started.elapsed());
        match message.properties.reply_to() {
            Some(reply_to) => {
                let body = wire::answer(&result, id.as_deref());
                self.send(reply_to, &message.properties, &body).await
            }
            // It was sent without asking for an answer.
            None => Ok(()),
        }
    }

    /// Publishes an answer and waits for the broker to have it.
    async fn send(
        &self,
        reply_to: &ShortString,
        asked: &BasicProperties,
        body: &[u8],
    ) -> Result<(), lapin::Error> {
        if self.own.contains(reply_to) {
            warn!("a command asks for its answer in a queue of this deployment; it gets none");
            return Ok(());
        }
        let mut properties =
            BasicProperties::default().with_content_type("application/json".into());
        if let Some(correlation_id) = asked.correlation_id() {
            properties = properties.with_correlation_id(correlation_id.clone());
        }
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let published = self
            .answers
            .basic_publish(
                ShortString::default(),
                reply_to.clone(),
                options,
                body,
                properties,
            )
            .await?;
        let is_gone = match published.await? {
            Confirmation::Ack(None) | Confirmation::NotRequested => false,
            Confirmation::Ack(Some(_)) => self.is_gone(reply_to).await?,
            // Its queue is full.
            Confirmation::Nack(_) => true,
        };
        if is_gone {
            self.metrics.callers_gone.inc();
        }
        Ok(())
    }

    /// Whether an answer that came back had nobody to take it. RabbitMQ up to 4.1 gives back
    /// every answer to a caller that uses its direct reply-to, also one that it delivered;
    /// such a caller is there as long as its name can be looked at.
    async fn is_gone(&self, reply_to: &ShortString) -> Result<bool, lapin::Error> {
        if !reply_to.as_str().starts_with(DIRECT_REPLY_TO) {
            return Ok(true);
        }
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        // A channel of its own, which the broker closes where there is nobody.
        let channel = self.connection.create_channel().await?;
        let looked = channel
            .queue_declare(reply_to.clone(), options, FieldTable::default())
            .await;
        if looked.is_ok() {
            consumer::close(&channel).await;
        }
        Ok(looked.is_err())
    }
}

/// A stream that says where it ends.
fn ending<T>(items: impl Stream<Item = T>) -> impl Stream<Item = Option<T>> {
    items.map(Some).chain(stream::once(ready(None)))
}

/// Does a command within its time. A panic is its answer, so that it harms no other.
async fn in_time(
    doing: impl Future<Output = Result<Value, CommandError>>,
) -> Result<Value, CommandError> {
    match timeout(COMMAND_TIMEOUT, AssertUnwindSafe(doing).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(_panic)) => {
            error!("a command panicked");
            Err(CommandError::internal())
        }
        Err(_elapsed) => Err(CommandError::timed_out()),
    }
}

/// How often the command was delivered before.
fn deliveries(message: &Delivery) -> i64 {
    let headers = message.properties.headers().as_ref();
    let count = headers.and_then(|headers| headers.inner().get("x-delivery-count"));
    match count {
        Some(AMQPValue::LongLongInt(count)) => *count,
        Some(AMQPValue::LongInt(count)) => i64::from(*count),
        _ => 0,
    }
}
