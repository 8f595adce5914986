//! One channel with many messages in flight, and an exact answer for each.
//!
//! Confirms come in their own order, several with one frame, so a message that
//! waits for the one before it would cost a round trip each. But a message that
//! no queue wants is returned just before it is confirmed, and nothing in a
//! return says which publish it was: lapin hands it to whichever confirm of the
//! channel completes next. So nobody is answered from a confirm alone.
//! [`in_flight`] sees confirms in rounds that miss none, and [`verdict`] tells
//! from all of a round whose return it was.

mod in_flight;
mod stuck;
mod sync;
mod verdict;

use super::Outcome;
use crate::body::BudgetPermit;
use crate::signature::Verified;
use in_flight::InFlight;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use stuck::Stuck;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;
use verdict::{Answer, Completion, Verdicts};

/// A message to publish. It holds its budget permit until the broker has
/// answered, even if nobody waits for the answer any more.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) event: Verified,
    pub(super) key: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) budget_permit: BudgetPermit,
    pub(super) slot: OwnedSemaphorePermit,
}

/// The way into the lane. The lane ends when this is dropped and the last
/// message is answered.
#[derive(Debug)]
pub(super) struct Lane(mpsc::Sender<Request>);

#[derive(Debug)]
struct Request {
    message: Message,
    answer: oneshot::Sender<Outcome>,
}

type Publishing = Pin<Box<dyn Future<Output = lapin::Result<Confirmation>> + Send>>;

impl Lane {
    /// Opens a channel and starts. `in_flight` is the most messages that can be
    /// in the lane; `answers` counts what the broker says to them.
    pub(super) async fn open(
        connection: Arc<Connection>,
        exchange: ShortString,
        in_flight: usize,
        answers: Arc<AtomicU64>,
    ) -> lapin::Result<Self> {
        let channel = open(&connection).await?;
        // Each message holds a permit, so there is always room.
        let (requests, received) = mpsc::channel(in_flight);
        let task = Task {
            connection,
            exchange,
            requests: received,
            answers,
        };
        tokio::spawn(task.run(channel));
        Ok(Self(requests))
    }

    /// Whether it publishes no more.
    pub(super) fn has_ended(&self) -> bool {
        self.0.is_closed()
    }

    /// Publishes a message and waits for the broker's answer to it.
    pub(super) async fn publish(&self, message: Message) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let request = Request { message, answer };
        match self.0.send(request).await {
            Ok(()) => answered.await.unwrap_or(Outcome::ChannelClosed),
            Err(_ended) => Outcome::ChannelClosed,
        }
    }
}

/// Shared, because a clone of a channel copies a dozen of its parts.
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
    answers: Arc<AtomicU64>,
}

/// What goes with a message while it is in flight.
struct Waiting {
    id: Option<ShortString>,
    answer: oneshot::Sender<Outcome>,
    _budget_permit: BudgetPermit,
    _slot: OwnedSemaphorePermit,
}

impl Task {
    /// Publishes over one channel after another until the connection is lost.
    async fn run(mut self, mut channel: Arc<Channel>) {
        while let Ended::Broken = self.over(&channel).await {
            match open(&self.connection).await {
                Ok(next) => channel = next,
                // What waits is answered by being dropped.
                Err(_lost) => return,
            }
        }
    }

    /// Publishes over one channel until that ends.
    async fn over(&mut self, channel: &Arc<Channel>) -> Ended {
        let mut in_flight = InFlight::default();
        let mut verdicts = Verdicts::default();
        let mut state = State::Open;
        let mut stuck = Stuck::default();
        while let Some(completed) =
            poll_fn(|cx| self.step(cx, channel, &mut in_flight, &mut state)).await
        {
            if completed.iter().any(|done| done.answer == Answer::Lost) {
                state = State::Broken;
            }
            for (waiting, outcome) in
                verdicts.round(completed, in_flight.oldest(), in_flight.pushed())
            {
                if outcome != Outcome::ChannelClosed {
                    self.answers.fetch_add(1, Ordering::Relaxed);
                }
                // Whoever asked may have gone.
                let _gone = waiting.answer.send(outcome);
            }
            if stuck.is_stuck(in_flight.oldest(), Instant::now()) {
                tracing::warn!("the broker does not answer a message; its channel is given up");
                // What waits is answered by being dropped.
                return Ended::Broken;
            }
        }
        match state {
            State::Broken => Ended::Broken,
            State::Open | State::Closing => Ended::Finished,
        }
    }

    /// Publishes what has come and collects what has completed; `None` at the
    /// end.
    fn step(
        &mut self,
        cx: &mut Context<'_>,
        channel: &Arc<Channel>,
        in_flight: &mut InFlight<Publishing, Waiting>,
        state: &mut State,
    ) -> Poll<Option<Vec<Completion<Waiting>>>> {
        while *state == State::Open {
            match self.requests.poll_recv(cx) {
                Poll::Ready(Some(request)) => self.publish(request, channel, in_flight),
                Poll::Ready(None) => *state = State::Closing,
                Poll::Pending => break,
            }
        }
        let completed = in_flight.poll_completed(cx);
        if !completed.is_empty() {
            let completed = completed.into_iter().map(completion).collect();
            Poll::Ready(Some(completed))
        } else if *state != State::Open && in_flight.is_empty() {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }

    fn publish(
        &self,
        request: Request,
        channel: &Arc<Channel>,
        in_flight: &mut InFlight<Publishing, Waiting>,
    ) {
        let Request { message, answer } = request;
        let Message {
            event,
            key,
            properties,
            budget_permit,
            slot,
        } = message;
        let waiting = Waiting {
            id: properties.message_id().clone(),
            answer,
            _budget_permit: budget_permit,
            _slot: slot,
        };
        let (channel, exchange) = (Arc::clone(channel), self.exchange.clone());
        let publishing = async move {
            let mandatory = BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            };
            let sent = channel.basic_publish(exchange, key, mandatory, event.body(), properties);
            sent.await?.await
        };
        in_flight.push(Box::pin(publishing), waiting);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Messages are taken.
    Open,
    /// The channel failed: those in flight are answered, the others wait for
    /// the next channel.
    Broken,
    /// Nobody will ask any more.
    Closing,
}

#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Broken,
    Finished,
}

/// A completion in the words of [`verdict`].
fn completion(
    (number, waiting, result): (u64, Waiting, lapin::Result<Confirmation>),
) -> Completion<Waiting> {
    let returned_id = |message: lapin::message::BasicReturnMessage| {
        let id = message.delivery.properties.message_id();
        id.as_ref().map(ToString::to_string)
    };
    let (answer, returned) = match result {
        Ok(Confirmation::Ack(returned)) => (Answer::Acked, returned.map(returned_id)),
        Ok(Confirmation::Nack(returned)) => (Answer::Nacked, returned.map(returned_id)),
        // The channel is not in confirm mode: a defect of ours. The message may
        // or may not be safe.
        Ok(Confirmation::NotRequested) | Err(_) => (Answer::Lost, None),
    };
    let id = waiting.id.as_ref().map(ToString::to_string);
    Completion {
        number,
        id,
        waiting,
        answer,
        returned,
    }
}
