//! Records the messages that the broker gave up: those of its dead-letter queue.
//!
//! The queue is the transport, the table `stripe.dead_letter` is the record: no message is
//! acked before its row is committed, and while the database is away the queue holds
//! them.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::{Channel, message::Delivery as Message, options::BasicAckOptions, types::ShortString};
use shared::{clock, telemetry::report};
use store::{
    Error, Pool,
    dead_letter::{self, NewDeadLetter},
    replay_item::{self, Note, ReplayItemKey},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    amqp::{
        consumer::{self, Queue, Serve, Session, SessionError},
        headers,
    },
    backoff::Backoff,
    dead_letters::death,
    metrics::Metrics,
};

/// The most messages in one transaction, and unacked: they are few, and at 2 MiB each, the
/// most that ingest takes, they hold 100 MiB.
pub const PREFETCH: u16 = 50;
/// How long a message that cannot be recorded is left alone. It stays in the queue.
const RETRY: Duration = Duration::from_secs(30);
/// How long a batch that is at work may take when the worker is to stop.
const GRACE: Duration = Duration::from_secs(3);

/// Records dead letters of the broker.
#[derive(Clone, Debug)]
pub struct DeadLetterRecorder {
    /// The dead-letter queue.
    pub queue: Queue,
    /// The database.
    pub pool: Pool,
    /// What is counted.
    pub metrics: Metrics,
}

impl DeadLetterRecorder {
    /// Records dead letters until `stop`, over as many connections as it takes. The
    /// consumer of events ends the worker where the topology differs from ours; here it
    /// is one more reason to wait.
    pub async fn run(&self, stop: &CancellationToken) {
        while let Err(error) = consumer::serve(self, stop).await {
            self.lost(&SessionError::Topology(error));
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn record_all(&self, stop: &CancellationToken) -> Result<(), SessionError> {
        let mut backoff = Backoff::default();
        while self.pool.get().await.is_err() {
            backoff.pause().await;
        }
        let mut session = self.queue.open().await?;
        info!(queue = %self.queue.name, "recording dead letters");
        let mut failed = 0_usize;
        loop {
            // With unacked ones that failed the session ends after a while, so that they come
            // again.
            let patience = if failed == 0 { Duration::MAX } else { RETRY };
            let batch = tokio::select! {
                batch = tokio::time::timeout(patience, next_batch(&mut session)) => {
                    batch.map_err(|_elapsed| SessionError::Redeliver)??
                }
                () = stop.cancelled() => {
                    consumer::close(&session.channel).await;
                    return Ok(());
                }
            };
            failed += self.record(&session.channel, &batch).await?;
            if failed >= usize::from(PREFETCH) {
                tokio::time::sleep(RETRY).await;
                return Err(SessionError::Redeliver);
            }
        }
    }

    /// Records a batch and acks it, one by one where it cannot be recorded as a whole.
    /// Returns how many could not be.
    async fn record(&self, channel: &Channel, batch: &[Message]) -> Result<usize, SessionError> {
        if self.write(batch).await.is_ok() {
            for message in batch {
                ack(channel, message).await?;
            }
            return Ok(0);
        }
        let mut failed = 0;
        for message in batch {
            match self.write(std::slice::from_ref(message)).await {
                Ok(()) => ack(channel, message).await?,
                Err(error) => {
                    failed += 1;
                    let event = message.properties.message_id().as_ref();
                    error!(
                        event = event.map(ShortString::as_str),
                        reason = %store::in_log(&error),
                        "a dead letter cannot be recorded; it stays in the queue"
                    );
                }
            }
        }
        Ok(failed)
    }

    /// Records messages in one transaction; waits while the database is away.
    async fn write(&self, batch: &[Message]) -> Result<(), Error> {
        let mut backoff = Backoff::default();
        loop {
            match self.commit(batch).await {
                Err(error) if error.is_unavailable() => {
                    warn!(reason = %store::in_log(&error), "the database is away; dead letters wait");
                    backoff.pause().await;
                }
                done => return done,
            }
        }
    }

    async fn commit(&self, batch: &[Message]) -> Result<(), Error> {
        let now = clock::now_utc();
        let read = |message: &Message| {
            let item = headers::replay_item(&message.properties);
            (death::of_message(message, now), item)
        };
        let letters: Vec<(NewDeadLetter, Option<ReplayItemKey>)> = batch.iter().map(read).collect();
        let mut conn = self.pool.get().await?;
        store::write(&mut conn, async |tx| {
            let notes = letters.iter().filter_map(|(letter, item)| {
                let reason = Some(letter.reason.as_str());
                let outcome = "dead";
                Some(Note {
                    item: item.as_ref()?,
                    outcome,
                    reason,
                })
            });
            replay_item::note(tx, &notes.collect::<Vec<_>>()).await?;
            // One statement takes no id twice.
            for (letter, _) in &letters {
                dead_letter::insert_many(tx, std::slice::from_ref(letter)).await?;
            }
            Ok::<_, Error>(())
        })
        .await?;
        let count = u64::try_from(letters.len()).unwrap_or(u64::MAX);
        self.metrics.dead_letters_recorded.inc_by(count);
        Ok(())
    }
}

impl Serve for DeadLetterRecorder {
    async fn session(&self, stop: &CancellationToken) -> Result<(), SessionError> {
        tokio::select! {
            ended = self.record_all(stop) => ended,
            // What is not acked comes again; a transaction rolls back.
            () = after(stop, GRACE) => Ok(()),
        }
    }

    fn lost(&self, error: &SessionError) {
        warn!(reason = %report(error), "dead letters stay in the queue; trying again");
    }
}

/// Waits until so long after the stop.
async fn after(stop: &CancellationToken, grace: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(grace).await;
}

async fn ack(channel: &Channel, message: &Message) -> lapin::Result<()> {
    let options = BasicAckOptions::default();
    channel.basic_ack(message.delivery_tag, options).await
}

/// Waits for one message and takes what else is there.
async fn next_batch(session: &mut Session) -> Result<Vec<Message>, SessionError> {
    let mut batch = vec![session.next().await?];
    while batch.len() < usize::from(PREFETCH) {
        match session.messages.next().now_or_never() {
            Some(Some(message)) => batch.push(message?),
            // An end is seen again by the next batch.
            Some(None) | None => break,
        }
    }
    Ok(batch)
}
