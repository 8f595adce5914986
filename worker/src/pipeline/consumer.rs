//! Takes deliveries from the queue in batches, has them executed, and answers them.
//!
//! Whatever breaks the connection to the broker, the deliveries that are not acked come again, and
//! their effects are known by then.

use domain::outcome::Decision;
use lapin::{
    Channel,
    options::{BasicAckOptions, BasicRejectOptions},
    types::ShortString,
};
use shared::{telemetry::report, topology::TopologyError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    amqp::consumer::{self, Queue, Serve, Session, SessionError},
    health::Health,
    metrics::Metrics,
    pipeline::{
        batch::{Batch, BatchReader},
        delivery::{Decoder, Delivery},
        executor::{BatchExecutor, Disposition, Stopped},
    },
};

/// The most deliveries that are not acked: a batch at work, one that is decoded, and one on its
/// way. At 6 KB each they hold 9 MB.
pub const PREFETCH: u16 = 1500;
/// Consumes the queue of events.
#[derive(Debug)]
pub struct Consumer {
    /// The queue.
    pub queue: Queue,
    /// How deliveries are decoded.
    pub decoder: Decoder,
    /// Executes the batches.
    pub executor: BatchExecutor,
    /// What is counted.
    pub metrics: Metrics,
    /// What `/readyz` says.
    pub health: Health,
}

/// The deliveries of one session that are not acked.
struct Unacked {
    channel: Channel,
    reader: BatchReader,
}

impl Consumer {
    /// Consumes until `stop`, over as many connections as it takes.
    ///
    /// # Errors
    /// A topology that differs from ours: no retry mends it.
    pub async fn run(&self, stop: &CancellationToken) -> Result<(), TopologyError> {
        consumer::serve(self, stop).await
    }

    async fn take_all(
        &self,
        unacked: &mut Unacked,
        stop: &CancellationToken,
    ) -> Result<(), SessionError> {
        loop {
            let batch = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                batch = unacked.reader.next() => batch.ok_or(SessionError::Ended)??,
            };
            self.take(unacked, batch, stop).await?;
        }
    }

    /// One batch, from its deliveries to their answers.
    async fn take(
        &self,
        unacked: &mut Unacked,
        batch: Batch,
        stop: &CancellationToken,
    ) -> Result<(), SessionError> {
        let started = Instant::now();
        let executed = tokio::select! {
            executed = self.executor.execute(&batch.deliveries, stop) => executed,
            // Whatever the batch waits for: its deliveries come again by another session.
            () = unacked.reader.ended() => return Err(SessionError::Ended),
        };
        let Ok(dispositions) = executed else {
            return Ok(());
        };
        self.metrics
            .batch(batch.deliveries.len(), started.elapsed());
        // Before the acks, one of which may ack everything up to its delivery.
        for crashed in batch.crashed {
            let event = crashed.message_id.as_ref().map(ShortString::as_str);
            self.requeue(unacked, crashed.tag, event).await?;
        }
        self.answer(unacked, batch.deliveries, dispositions).await
    }

    /// Answers deliveries as they were disposed of.
    async fn answer(
        &self,
        unacked: &mut Unacked,
        deliveries: Vec<Delivery>,
        dispositions: Vec<Disposition>,
    ) -> Result<(), SessionError> {
        let mut last_done = None;
        for (delivery, disposition) in deliveries.into_iter().zip(dispositions) {
            match disposition {
                Disposition::Ack(decision) => {
                    self.metrics.decision(&decision);
                    if let Decision::Dead(why) = &decision {
                        let event = delivery.event_id().unwrap_or("unreadable");
                        warn!(event, reason = why.code(), "dead letter: {why}");
                    }
                    last_done = Some(delivery.tag);
                }
                Disposition::Requeue => {
                    self.requeue(unacked, delivery.tag, delivery.event_id())
                        .await?;
                }
            }
        }
        // One frame acks every delivery up to this one: those before are answered, and those
        // of this batch that go back to the queue went before.
        if let Some(tag) = last_done {
            let options = BasicAckOptions { multiple: true };
            unacked.channel.basic_ack(tag, options).await?;
        }
        Ok(())
    }

    async fn requeue(
        &self,
        unacked: &Unacked,
        tag: u64,
        event: Option<&str>,
    ) -> Result<(), SessionError> {
        self.metrics.crashes.inc();
        error!(event, "a handler panicked");
        let options = BasicRejectOptions { requeue: true };
        Ok(unacked.channel.basic_reject(tag, options).await?)
    }
}

impl Serve for Consumer {
    async fn session(&self, stop: &CancellationToken) -> Result<(), SessionError> {
        // Deliveries that nobody can commit would only run into the broker's time limit
        // for acks, and count as attempts.
        if self.executor.wait_until_available(stop).await == Err(Stopped) {
            return Ok(());
        }
        let session = tokio::select! {
            session = self.queue.open() => session?,
            () = stop.cancelled() => return Ok(()),
        };
        let Session {
            connection: _connection,
            channel,
            messages,
        } = session;
        let mut unacked = Unacked {
            channel,
            reader: BatchReader::start(messages, self.decoder.clone()),
        };
        self.health.consuming(true);
        info!(queue = %self.queue.name, "consuming");
        self.take_all(&mut unacked, stop).await?;
        self.health.consuming(false);
        consumer::close(&unacked.channel).await;
        Ok(())
    }

    fn lost(&self, error: &SessionError) {
        self.health.consuming(false);
        self.metrics.sessions_lost.inc();
        warn!(reason = %report(error), "not consuming; trying again");
    }
}
