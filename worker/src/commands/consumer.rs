//! Takes commands from their queue and sends the answers.
//!
//! Each command is done by a task of its own and acked when its answer is with the broker.
//! One whose worker dies comes again, and goes on where it stopped.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{FutureExt, Stream, StreamExt, future::ready, stream};
use lapin::{BasicProperties, message::Delivery, options::BasicAckOptions, types::ShortString};
use serde_json::Value;
use shared::{
    telemetry::report,
    topology::{COMMAND_TTL, Names},
};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    command::Name,
    error::CommandError,
    replies::{Replies, Sent},
    service::CommandService,
    wire,
};
use crate::{
    amqp::{
        consumer::{self, Queue, Serve, Session, SessionError},
        headers,
    },
    metrics::commands::CommandMetrics,
};

/// The most commands in hand. One that waits for Stripe costs some kilobytes.
pub const PREFETCH: u16 = 200;
/// Connections to the database that commands have of their own.
pub const CONNECTIONS: u32 = 6;
/// How long a command may take.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_secs(50);
/// A command that is being done was sent within this time: the broker gives nobody one that is
/// older than its queue keeps it, also where it comes again. Some seconds are for the way.
pub(super) const SENT_WITHIN: Duration = COMMAND_TTL
    .saturating_add(COMMAND_TIMEOUT)
    .saturating_add(Duration::from_secs(10));
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
    replies: Replies,
}

/// Whether a command came in time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    InTime,
    TooLate,
}

impl CommandConsumer {
    /// Consumes until `stop`, over as many connections as it takes. Where the broker's user
    /// lacks a right, or a queue of that name differs, no command is taken until somebody has
    /// mended it; events are.
    pub async fn run(&self, stop: &CancellationToken) {
        consumer::serve_beside(self, stop).await;
    }

    async fn tasks(&self) -> Result<Arc<Tasks>, SessionError> {
        Ok(Arc::new(Tasks {
            service: self.service.clone(),
            metrics: self.metrics.clone(),
            replies: Replies::open(&self.queue.amqp).await?,
        }))
    }
}

impl Serve for CommandConsumer {
    async fn session(&self, stop: &CancellationToken) -> Result<(), SessionError> {
        let Session {
            connection: _connection,
            channel,
            messages,
        } = self.queue.open().await?;
        let expired = &self.queue.names.expired_commands;
        let expired = consumer::consume(&channel, expired).await?;
        let tasks = self.tasks().await?;
        // Where one queue's consumer ends, so does the session.
        let mut commands = stream::select(
            ending(messages.map(|message| (message, Came::InTime))),
            ending(expired.map(|message| (message, Came::TooLate))),
        );
        info!("taking commands");
        self.metrics.consuming.set(1);
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
                    Ok(Err(error)) => break Err(error),
                    // It caught its own panics, so this is a mistake in the catching.
                    Err(_panicked) => break Err(SessionError::Redeliver),
                },
            };
            in_hand.spawn(Arc::clone(&tasks).take(message, came, Instant::now()));
        };
        if ended.is_ok() {
            // What is in hand is finished; what is not comes again.
            while in_hand.join_next().await.is_some() {}
            consumer::close(&channel).await;
        }
        self.metrics.in_hand.set(0);
        self.metrics.consuming.set(0);
        ended
    }

    fn lost(&self, error: &SessionError) {
        let reason = report(error);
        match error.needs_a_person() {
            true => error!(
                %reason,
                "no command is taken until somebody mends this at the broker; events go on"
            ),
            false => warn!(%reason, "the consumer of commands lost the broker"),
        }
    }
}

impl Tasks {
    /// One command, from its delivery to its ack.
    async fn take(
        self: Arc<Self>,
        message: Delivery,
        came: Came,
        received: Instant,
    ) -> Result<(), SessionError> {
        self.metrics.in_hand.inc();
        let answered = self.answer(&message, came, received).await;
        self.metrics.in_hand.dec();
        answered?;
        message.ack(BasicAckOptions::default()).await?;
        Ok(())
    }

    async fn answer(
        &self,
        message: &Delivery,
        came: Came,
        received: Instant,
    ) -> Result<(), SessionError> {
        let request = wire::read(message.routing_key.as_str(), &message.data);
        let (name, id, result) = match request {
            Ok(request) => {
                let (name, id) = (Name::read(&request.name), request.id.clone());
                let result = match (&name, came) {
                    // The routing key, which may be its name, is no longer the sender's.
                    (_, Came::TooLate) => Err(CommandError::expired()),
                    (Err(error), _) => Err(error.clone()),
                    (Ok(_), _)
                        if headers::deliveries_before(&message.properties) >= MOST_DELIVERIES =>
                    {
                        Err(CommandError::interrupted())
                    }
                    (Ok(name), Came::InTime) => {
                        let service = CommandService {
                            is_redelivered: is_redelivered(message),
                            ..self.service.until(received + time_of(&message.properties))
                        };
                        Box::pin(in_time(service.run(*name, request.data))).await
                    }
                };
                (name.map_or("unknown", Name::as_str), id, result)
            }
            Err(error) => ("unknown", None, Err(error)),
        };
        let outcome = result.as_ref().err().map_or("ok", |error| error.code);
        info!(command = name, outcome, "a command was answered");
        self.metrics.answered(name, outcome, received.elapsed());
        match message.properties.reply_to() {
            Some(reply_to) => {
                let body = wire::answer(&result, id.as_deref());
                self.reply(reply_to, &message.properties, &body).await
            }
            // It was sent without asking for an answer.
            None => Ok(()),
        }
    }

    /// Sends an answer to where the caller wants it.
    async fn reply(
        &self,
        reply_to: &ShortString,
        asked: &BasicProperties,
        body: &[u8],
    ) -> Result<(), SessionError> {
        if Names::is_ours(reply_to.as_str()) {
            warn!("a command asks for its answer in a queue of events or commands; it gets none");
            return Ok(());
        }
        let correlation_id = asked.correlation_id().as_ref();
        let sent = self.replies.send(reply_to, correlation_id, body).await?;
        if sent == Sent::ToNobody {
            self.metrics.callers_gone.inc();
        }
        Ok(())
    }
}

/// For how long a command's caller waits at most: the command's `expiration`, or as long as the
/// queue keeps it. The broker says nothing of how much of it has passed, so it counts from when
/// the command came to the worker.
fn time_of(properties: &BasicProperties) -> Duration {
    let own = properties.expiration().as_ref();
    let own = own.and_then(|own| own.as_str().parse().ok());
    own.map_or(COMMAND_TTL, Duration::from_millis)
        .min(COMMAND_TTL)
}

fn is_redelivered(message: &Delivery) -> bool {
    message.redelivered || headers::deliveries_before(&message.properties) > 0
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
