//! One AMQP channel in confirm mode with many messages in flight. It tells the
//! exact outcome of each message.
//!
//! The broker confirms messages in any order and several with one frame, so
//! waiting for each confirm before the next message would cost a round trip a
//! message. But the broker returns an unroutable message just before it confirms
//! it, and a return does not say which publish it belongs to: lapin attaches it
//! to the confirm that completes next, whichever that is. So one confirm alone
//! does not tell its message's outcome. [`in_flight`] collects confirms in rounds
//! that miss none, and [`confirms`] works out which message each return of a
//! round belongs to.

mod confirms;
mod in_flight;
mod stall;
mod sync;

use super::outcome::Outcome;
use crate::body::BudgetPermit;
use crate::signature::Verified;
use confirms::{Completion, Confirm, ConfirmTracker};
use in_flight::InFlight;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use stall::StallDetector;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;

/// A message to publish. It keeps its permits until the broker has confirmed it,
/// even if the request that it came with has ended before.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) event: Verified,
    pub(super) routing_key: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) budget_permit: BudgetPermit,
    pub(super) in_flight_permit: OwnedSemaphorePermit,
}

/// Sends messages to the task that publishes them. Once this is dropped, the task
/// ends with the last outcome.
#[derive(Debug)]
pub(super) struct ConfirmChannel(mpsc::Sender<Request>);

#[derive(Debug)]
struct Request {
    message: Message,
    outcome: oneshot::Sender<Outcome>,
}

type Publishing = Pin<Box<dyn Future<Output = lapin::Result<Confirmation>> + Send>>;

impl ConfirmChannel {
    /// Opens a channel and starts its task. At most `in_flight` messages may be
    /// in flight. `confirms_received` counts the broker's confirms.
    pub(super) async fn open(
        connection: Arc<Connection>,
        exchange: ShortString,
        in_flight: usize,
        confirms_received: Arc<AtomicU64>,
    ) -> lapin::Result<Self> {
        let channel = open(&connection).await?;
        // Each message has an in-flight permit, so sending never waits.
        let (sender, requests) = mpsc::channel(in_flight);
        let task = Task {
            connection,
            exchange,
            requests,
            confirms_received,
        };
        tokio::spawn(task.run(channel));
        Ok(Self(sender))
    }

    /// Whether the task has ended, so that no message can be published.
    pub(super) fn has_ended(&self) -> bool {
        self.0.is_closed()
    }

    /// Publishes a message and waits for its outcome.
    pub(super) async fn publish(&self, message: Message) -> Outcome {
        let (outcome, receiver) = oneshot::channel();
        let request = Request { message, outcome };
        match self.0.send(request).await {
            Ok(()) => receiver.await.unwrap_or(Outcome::ChannelClosed),
            Err(_ended) => Outcome::ChannelClosed,
        }
    }
}

/// Opens a channel in confirm mode. It is shared because cloning a channel clones
/// a dozen of its parts.
async fn open(connection: &Connection) -> lapin::Result<Arc<Channel>> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok(Arc::new(channel))
}

struct Task {
    connection: Arc<Connection>,
    exchange: ShortString,
    requests: mpsc::Receiver<Request>,
    confirms_received: Arc<AtomicU64>,
}

/// The request that waits for a message in flight. Dropping it answers the
/// request with [`Outcome::ChannelClosed`].
struct Waiter {
    message_id: Option<ShortString>,
    outcome: oneshot::Sender<Outcome>,
    _budget_permit: BudgetPermit,
    _in_flight_permit: OwnedSemaphorePermit,
}

impl Task {
    /// Publishes over one channel after another until the connection is lost.
    async fn run(mut self, mut channel: Arc<Channel>) {
        while self.publish_over(&channel).await == ChannelState::Failed {
            match open(&self.connection).await {
                Ok(next) => channel = next,
                // Dropping the requests answers them.
                Err(_lost) => return,
            }
        }
    }

    /// Publishes over one channel until that has failed or no more requests come.
    async fn publish_over(&mut self, channel: &Arc<Channel>) -> ChannelState {
        let mut in_flight = InFlight::default();
        let mut tracker = ConfirmTracker::default();
        let mut state = ChannelState::Open;
        let mut stall = StallDetector::default();
        while let Some(round) =
            poll_fn(|cx| self.poll_round(cx, channel, &mut in_flight, &mut state)).await
        {
            if round.iter().any(|done| done.confirm == Confirm::Lost) {
                state = ChannelState::Failed;
            }
            for (waiter, outcome) in
                tracker.resolve_round(round, in_flight.oldest(), in_flight.next_number())
            {
                if outcome != Outcome::ChannelClosed {
                    self.confirms_received.fetch_add(1, Ordering::Relaxed);
                }
                // Sending fails if the request has ended, for example by its deadline.
                let _request_ended = waiter.outcome.send(outcome);
            }
            if stall.is_stalled(in_flight.oldest(), Instant::now()) {
                tracing::warn!("the broker does not answer a message; its channel is given up");
                // Dropping the waiters answers them.
                return ChannelState::Failed;
            }
        }
        state
    }

    /// Publishes the requests that have come and returns the next round of
    /// confirms, or `None` once the channel is done with.
    fn poll_round(
        &mut self,
        cx: &mut Context<'_>,
        channel: &Arc<Channel>,
        in_flight: &mut InFlight<Publishing, Waiter>,
        state: &mut ChannelState,
    ) -> Poll<Option<Vec<Completion<Waiter>>>> {
        while *state == ChannelState::Open {
            match self.requests.poll_recv(cx) {
                Poll::Ready(Some(request)) => self.publish(request, channel, in_flight),
                Poll::Ready(None) => *state = ChannelState::Closing,
                Poll::Pending => break,
            }
        }
        let completed = in_flight.poll_completed(cx);
        if !completed.is_empty() {
            let round = completed.into_iter().map(completion).collect();
            Poll::Ready(Some(round))
        } else if *state != ChannelState::Open && in_flight.is_empty() {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }

    fn publish(
        &self,
        request: Request,
        channel: &Arc<Channel>,
        in_flight: &mut InFlight<Publishing, Waiter>,
    ) {
        let Request { message, outcome } = request;
        let Message {
            event,
            routing_key,
            properties,
            budget_permit,
            in_flight_permit,
        } = message;
        let waiter = Waiter {
            message_id: properties.message_id().clone(),
            outcome,
            _budget_permit: budget_permit,
            _in_flight_permit: in_flight_permit,
        };
        let (channel, exchange) = (Arc::clone(channel), self.exchange.clone());
        let publishing = async move {
            let mandatory = BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            };
            let body = event.body();
            let sent = channel.basic_publish(exchange, routing_key, mandatory, body, properties);
            sent.await?.await
        };
        in_flight.push(Box::pin(publishing), waiter);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChannelState {
    /// Requests are taken.
    Open,
    /// The channel failed. The messages in flight still get their outcomes; the
    /// other requests wait for the next channel.
    Failed,
    /// No more requests will come.
    Closing,
}

/// Translates one completed publish from lapin's terms into those of
/// [`confirms`].
fn completion(
    (number, waiter, result): (u64, Waiter, lapin::Result<Confirmation>),
) -> Completion<Waiter> {
    let returned_id = |message: lapin::message::BasicReturnMessage| {
        let id = message.delivery.properties.message_id();
        id.as_ref().map(ToString::to_string)
    };
    let (confirm, returned) = match result {
        Ok(Confirmation::Ack(returned)) => (Confirm::Acked, returned.map(returned_id)),
        Ok(Confirmation::Nack(returned)) => (Confirm::Nacked, returned.map(returned_id)),
        // `NotRequested` means that the channel is not in confirm mode, which is a
        // defect of this module: the message may or may not be on a queue.
        Ok(Confirmation::NotRequested) | Err(_) => (Confirm::Lost, None),
    };
    let message_id = waiter.message_id.as_ref().map(ToString::to_string);
    Completion {
        number,
        message_id,
        waiter,
        confirm,
        returned,
    }
}
