//! Takes deliveries from the queue in batches, has them executed, and answers them.
//!
//! Whatever breaks the connection to the broker, the deliveries that are not acked come again, and
//! their effects are known by then.

use std::time::Duration;

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
        acks::acks,
        batch::{Batch, BatchReader},
        delivery::{Decoder, Delivery},
        executor::{BatchExecutor, Disposition, Stopped},
    },
};

/// The most deliveries that are not acked: a batch at work, one that is decoded, and one on its
/// way. At 6 KB each they hold 9 MB.
pub const PREFETCH: u16 = 1500;
/// The most deliveries deferred; with more the worker takes no new ones.
const MAX_DEFERRED: usize = 200;
/// How long a delivery is deferred at first, and at most: twice as long each time, since
/// every try can take half a second of everybody's time.
const RETRY_MIN: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(30);

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

/// A delivery that somebody else is in the way of.
struct Deferred {
    delivery: Delivery,
    until: Instant,
    pause: Duration,
}

impl Deferred {
    /// Deferred for `pause`.
    fn new(delivery: Delivery, pause: Duration) -> Self {
        let until = Instant::now() + pause;
        Self {
            delivery,
            until,
            pause,
        }
    }
}

/// The deliveries of one session that are not acked.
struct Unacked {
    channel: Channel,
    reader: BatchReader,
    deferred: Vec<Deferred>,
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
        // However many are deferred, a batch that is there is taken between two of them.
        let mut retried_last = false;
        loop {
            let due = unacked.next_due();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = at(due), if !retried_last => {
                    self.retry_deferred(unacked, stop).await?;
                    retried_last = true;
                }
                batch = unacked.reader.next(), if unacked.deferred.len() < MAX_DEFERRED => {
                    let batch = batch.ok_or(SessionError::Ended)??;
                    self.take(unacked, batch, stop).await?;
                    retried_last = false;
                }
                () = at(due) => self.retry_deferred(unacked, stop).await?,
            }
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
        let Ok(dispositions) = self.executor.execute(&batch.deliveries, stop).await else {
            return Ok(());
        };
        self.metrics
            .batch(batch.deliveries.len(), started.elapsed());
        // Before the acks, one of which may ack everything up to its delivery.
        for crashed in batch.crashed {
            let event = crashed.message_id.as_ref().map(ShortString::as_str);
            self.requeue(unacked, crashed.tag, event).await?;
        }
        self.answer(unacked, batch.deliveries, dispositions, RETRY_MIN)
            .await
    }

    /// Answers deliveries as they were disposed of. Deferred ones wait for `pause`.
    async fn answer(
        &self,
        unacked: &mut Unacked,
        deliveries: Vec<Delivery>,
        dispositions: Vec<Disposition>,
        pause: Duration,
    ) -> Result<(), SessionError> {
        let mut done = Vec::with_capacity(deliveries.len());
        let all = deliveries.len();
        for (delivery, disposition) in deliveries.into_iter().zip(dispositions) {
            match disposition {
                Disposition::Ack(decision) => {
                    self.metrics.decision(&decision);
                    if let Decision::Dead(why) = &decision {
                        let event = delivery.event_id().unwrap_or("unreadable");
                        warn!(event, reason = why.code(), "dead letter: {why}");
                    }
                    done.push(delivery.tag);
                }
                Disposition::Defer => {
                    self.metrics.deliveries_deferred.inc();
                    unacked.deferred.push(Deferred::new(delivery, pause));
                }
                Disposition::Requeue => {
                    self.requeue(unacked, delivery.tag, delivery.event_id())
                        .await?;
                }
            }
        }
        let is_whole = done.len() == all;
        for ack in acks(&done, is_whole, !unacked.deferred.is_empty()) {
            let options = BasicAckOptions {
                multiple: ack.multiple,
            };
            unacked.channel.basic_ack(ack.tag, options).await?;
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

    async fn retry_deferred(
        &self,
        unacked: &mut Unacked,
        stop: &CancellationToken,
    ) -> Result<(), SessionError> {
        let first = unacked.first_due();
        let Deferred {
            delivery, pause, ..
        } = unacked.deferred.swap_remove(first);
        let Ok(disposition) = self.executor.execute_one(&delivery, stop).await else {
            return Ok(());
        };
        let pause = RETRY_MAX.min(pause * 2);
        self.answer(unacked, vec![delivery], vec![disposition], pause)
            .await
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
            deferred: Vec::new(),
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

impl Unacked {
    /// Which of the deferred deliveries is due first.
    fn first_due(&self) -> usize {
        let due = self.deferred.iter().enumerate();
        due.min_by_key(|(_, deferred)| deferred.until)
            .map_or(0, |(index, _)| index)
    }

    /// When the first of them is due.
    fn next_due(&self) -> Option<Instant> {
        self.deferred.iter().map(|deferred| deferred.until).min()
    }
}

/// Waits until then; for ever if there is no such moment.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
