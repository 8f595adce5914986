//! Takes deliveries from the queue in batches, has them executed, and answers them.
//!
//! Whatever breaks the connection to the broker, the deliveries that are not acked come again, and
//! their effects are known by then.

use domain::outcome::Decision;
use lapin::{
    Channel,
    message::Delivery as Message,
    options::{BasicAckOptions, BasicRejectOptions},
    types::ShortString,
};
use shared::{telemetry::report, topology::TopologyError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    amqp::consumer::{self, Queue, Serve, Session, SessionError},
    backoff::Backoff,
    health::Health,
    metrics::Metrics,
    pipeline::{
        acks::{self, Answer},
        alone::{self, Alone},
        batch::{Batch, BatchReader},
        delivery::{Crashed, Decoder, Delivery},
        executor::{BatchExecutor, Disposition, Stopped},
        suspects,
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

    /// One batch, from its deliveries to their answers, and the suspects behind it.
    async fn take(
        &self,
        unacked: &mut Unacked,
        batch: Batch,
        stop: &CancellationToken,
    ) -> Result<(), SessionError> {
        let Batch {
            deliveries,
            crashed,
            suspects,
        } = batch;
        if !deliveries.is_empty() || !crashed.is_empty() {
            let started = Instant::now();
            let executed = tokio::select! {
                executed = self.executor.execute(&deliveries, stop) => executed,
                // Whatever the batch waits for: its deliveries come again by another session.
                () = unacked.reader.ended() => return Err(SessionError::Ended),
            };
            let Ok(dispositions) = executed else {
                return Ok(());
            };
            self.health.answered(deliveries.len() + crashed.len());
            self.metrics.batch(deliveries.len(), started.elapsed());
            self.answer(unacked, &crashed, &deliveries, &dispositions)
                .await?;
        }
        match suspects {
            Some(suspects) => self.take_suspects(unacked, &suspects.messages, stop).await,
            None => Ok(()),
        }
    }

    /// Handles deliveries that may be what their workers died of, in place and in their order:
    /// together those of which nothing is noted, and alone each whose worker died of that.
    async fn take_suspects(
        &self,
        unacked: &Unacked,
        messages: &[Message],
        stop: &CancellationToken,
    ) -> Result<(), SessionError> {
        // A database that is away is waited for where they are handled alone.
        let notes: Vec<String> = messages.iter().map(alone::note_id).collect();
        let notes: Vec<&str> = notes.iter().map(String::as_str).collect();
        let noted = suspects::are_there(&self.executor, &notes).await;
        let noted = noted.unwrap_or_else(|_| vec![true; messages.len()]);
        let mut start = 0;
        for run in noted.chunk_by(|one, next| one == next) {
            let here = start..start + run.len();
            start = here.end;
            let (messages, notes) = (&messages[here.clone()], &notes[here]);
            let is_noted = run.contains(&true);
            if !is_noted && self.take_together(unacked, messages, notes).await? {
                continue;
            }
            for message in messages {
                self.take_alone(unacked, message, stop).await?;
                // It may have no answer. An answer to one behind it would be one to it as well.
                if stop.is_cancelled() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Tries deliveries together; says whether they are answered. All deliveries before them
    /// are.
    async fn take_together(
        &self,
        unacked: &Unacked,
        messages: &[Message],
        notes: &[&str],
    ) -> Result<bool, SessionError> {
        let started = Instant::now();
        match suspects::attempt(&self.executor, &self.decoder, messages, notes).await {
            Some(Ok((deliveries, decisions))) => {
                self.health.answered(deliveries.len());
                self.metrics.batch(deliveries.len(), started.elapsed());
                let acks: Vec<_> = decisions.into_iter().map(Disposition::Ack).collect();
                self.answer(unacked, &[], &deliveries, &acks).await?;
                return Ok(true);
            }
            None => self.crashed(None),
            Some(Err(error)) => {
                let events = messages.len();
                info!(events, reason = %store::in_log(&error), "events that came back did not commit together");
            }
        }
        Ok(false)
    }

    /// Handles a delivery alone until it is decided, in place: nobody else dies with it. All
    /// deliveries before it are answered.
    async fn take_alone(
        &self,
        unacked: &Unacked,
        message: &Message,
        stop: &CancellationToken,
    ) -> Result<(), SessionError> {
        let event = message.properties.message_id().as_ref();
        let event = event.map(ShortString::as_str);
        let mut alone = Alone::new(&self.executor, &self.decoder, message);
        let mut backoff = Backoff::default();
        loop {
            let started = Instant::now();
            match alone.attempt().await {
                Some(Ok(decision)) => {
                    self.health.answered(1);
                    self.metrics.batch(1, started.elapsed());
                    self.count(&decision, event);
                    return self
                        .send(unacked, &acks::answers(&[], &[message.delivery_tag]))
                        .await;
                }
                None => {
                    self.crashed(event);
                    // Its tries are few.
                    if !alone.is_given_up() {
                        continue;
                    }
                }
                Some(Err(error)) if error.is_unavailable() => {
                    warn!(reason = %store::in_log(&error), "the database is away; events wait in the queue");
                }
                Some(Err(error)) => {
                    warn!(event, reason = %store::in_log(&error), "an event cannot be committed now; trying again");
                }
            }
            tokio::select! {
                () = backoff.pause() => {}
                () = stop.cancelled() => return Ok(()),
                () = unacked.reader.ended() => return Err(SessionError::Ended),
            }
        }
    }

    /// Answers deliveries as they were disposed of.
    async fn answer(
        &self,
        unacked: &Unacked,
        crashed: &[Crashed],
        deliveries: &[Delivery],
        dispositions: &[Disposition],
    ) -> Result<(), SessionError> {
        let (mut returned, mut acked) = (Vec::new(), Vec::new());
        for message in crashed {
            self.crashed(message.message_id.as_ref().map(ShortString::as_str));
            returned.push(message.tag);
        }
        for (delivery, disposition) in deliveries.iter().zip(dispositions) {
            match disposition {
                Disposition::Ack(decision) => {
                    self.count(decision, delivery.event_id());
                    acked.push(delivery.tag);
                }
                Disposition::Requeue => {
                    self.crashed(delivery.event_id());
                    returned.push(delivery.tag);
                }
            }
        }
        self.send(unacked, &acks::answers(&returned, &acked)).await
    }

    fn count(&self, decision: &Decision, event: Option<&str>) {
        self.metrics.decision(decision);
        if let Decision::Dead(why) = decision {
            let event = event.unwrap_or("unreadable");
            warn!(event, reason = why.code(), "dead letter: {why}");
        }
    }

    fn crashed(&self, event: Option<&str>) {
        self.metrics.crashes.inc();
        error!(event, "a handler panicked");
    }

    async fn send(&self, unacked: &Unacked, answers: &[Answer]) -> Result<(), SessionError> {
        for answer in answers {
            match *answer {
                Answer::Return(tag) => {
                    let options = BasicRejectOptions { requeue: true };
                    unacked.channel.basic_reject(tag, options).await?;
                }
                Answer::AckUpTo(tag) => {
                    let options = BasicAckOptions { multiple: true };
                    unacked.channel.basic_ack(tag, options).await?;
                }
            }
        }
        Ok(())
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
            reader: BatchReader::start(self.health.watch(messages), self.decoder.clone()),
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
