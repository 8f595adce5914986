//! Takes deliveries from the queue in sets, has them settled, and answers them.
//!
//! A set is what is there: the worker never waits for more. Whatever breaks the
//! connection to the broker, the deliveries in hand come again, and their
//! effects are known by then.

mod acks;

use std::time::Duration;

use acks::acks;
use lapin::{
    Channel, Connection,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions},
    types::{FieldTable, ShortString},
};
use shared::{
    amqp::{self, AmqpUrl},
    telemetry::report,
    topology::{self, Names, TopologyError},
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    backoff::Backoff,
    dead::{Dead, DeadError, OpenError},
    events::verdict::Verdict,
    gather::{Gathered, Gathering, Reading},
    health::Health,
    metrics::Metrics,
    process::Item,
    settle::{Settlement, Settler, Stopped},
};

/// The most deliveries in hand: a unit at work, one that is read, and one on its
/// way. At 6 KB each they hold 9 MB.
const PREFETCH: u16 = 1500;
/// The most deliveries set aside; with more the worker takes no new ones.
const MAX_HELD: usize = 200;
/// How long a delivery is set aside at first, and at most: twice as long each
/// time, since every try can take half a second of everybody's time.
const HOLD: Duration = Duration::from_secs(2);
const LONGEST_HOLD: Duration = Duration::from_secs(30);
/// How long the broker may take to say goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The worker's end of the queue.
#[derive(Debug)]
pub struct Consume {
    /// The broker.
    pub amqp: AmqpUrl,
    /// The names of exchanges and queues.
    pub names: Names,
    /// How deliveries are read.
    pub reading: Reading,
    /// Gives the verdicts.
    pub settler: Settler,
    /// What is counted.
    pub metrics: Metrics,
    /// What `/readyz` says.
    pub health: Health,
}

/// Why a session with the broker ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the broker cannot be reached")]
    Connect(#[from] amqp::ConnectError),
    #[error("the topology could not be declared")]
    Topology(#[from] TopologyError),
    #[error("the connection to the broker failed")]
    Broker(#[from] lapin::Error),
    #[error("the queue was deleted or the connection closed")]
    Ended,
    #[error("a dead letter could not be kept")]
    Dead(#[from] DeadError),
    #[error("there is no way to the dead letters")]
    Burying(#[from] OpenError),
}

/// A delivery that something is in the way of.
struct Held {
    delivery: Delivery,
    item: Item,
    until: Instant,
    pause: Duration,
}

impl Held {
    /// Set aside for `pause`.
    fn new(delivery: Delivery, item: Item, pause: Duration) -> Self {
        let until = Instant::now() + pause;
        Self {
            delivery,
            item,
            until,
            pause,
        }
    }
}

/// One connection to the broker.
struct Session {
    _connection: Connection,
    channel: Channel,
    gathering: Gathering,
    dead: Dead,
    held: Vec<Held>,
}

impl Consume {
    /// Consumes until `stop`, over as many connections as it takes.
    ///
    /// # Errors
    /// A topology that differs from ours: no retry mends it.
    pub async fn run(&self, stop: &CancellationToken) -> Result<(), TopologyError> {
        let mut backoff = Backoff::default();
        while !stop.is_cancelled() {
            let started = Instant::now();
            match self.session(stop).await {
                Ok(()) => break,
                Err(Lost::Topology(error)) if error.is_mismatch() => return Err(error),
                Err(lost) => {
                    self.health.consuming(false);
                    self.metrics.sessions_lost.inc();
                    warn!(reason = %report(&lost), "not consuming; trying again");
                }
            }
            if started.elapsed() > Duration::from_secs(10) {
                backoff = Backoff::default();
            }
            tokio::select! {
                () = backoff.pause() => {}
                () = stop.cancelled() => {}
            }
        }
        Ok(())
    }

    async fn session(&self, stop: &CancellationToken) -> Result<(), Lost> {
        // Deliveries that nobody can settle would only run into the broker's
        // time limit for acks, and count as attempts.
        if self.settler.wait_until_there(stop).await == Err(Stopped) {
            return Ok(());
        }
        let connecting = self.connect();
        let mut session = tokio::select! {
            session = connecting => session?,
            () = stop.cancelled() => return Ok(()),
        };
        self.health.consuming(true);
        info!(queue = %self.names.worker, "consuming");
        // However many are set aside, a unit that is there is taken between two of
        // them.
        let mut is_units_turn = false;
        loop {
            let due = session.next_due();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = at(due), if !is_units_turn => {
                    self.try_held(&mut session, stop).await?;
                    is_units_turn = true;
                }
                unit = session.gathering.next(), if session.held.len() < MAX_HELD => {
                    let unit = unit.ok_or(Lost::Ended)??;
                    self.take(&mut session, unit, stop).await?;
                    is_units_turn = false;
                }
                () = at(due) => self.try_held(&mut session, stop).await?,
            }
        }
        self.health.consuming(false);
        // What is in hand but not settled goes back to the queue.
        let closing = session.channel.close(200, "stopping".into());
        match timeout(CLOSE_TIMEOUT, closing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the channel did not close in order"),
            Err(_elapsed) => warn!("the broker did not say goodbye in time"),
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Session, Lost> {
        let connection = amqp::connect(&self.amqp, "dialoom-worker").await?;
        topology::declare(&connection, &self.names).await?;
        let dead = Dead::open(&self.amqp, &self.names).await?;
        let channel = connection.create_channel().await?;
        channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?;
        let consumer = channel
            .basic_consume(
                self.names.worker.clone(),
                ShortString::default(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        Ok(Session {
            _connection: connection,
            channel,
            gathering: Gathering::start(consumer, self.reading.clone()),
            dead,
            held: Vec::new(),
        })
    }

    /// One unit, from its deliveries to their answers.
    async fn take(
        &self,
        session: &mut Session,
        unit: Gathered,
        stop: &CancellationToken,
    ) -> Result<(), Lost> {
        let started = Instant::now();
        let (taken, items): (Vec<Delivery>, Vec<Item>) = unit.taken.into_iter().unzip();
        let Ok(settled) = self.settler.settle(&items, stop).await else {
            return Ok(());
        };
        self.metrics.unit(items.len(), started.elapsed());
        // Before the answer, which may ack everything up to its last delivery.
        for delivery in unit.crashed {
            self.give_back(session, &delivery).await?;
        }
        self.answer(session, taken, items, settled, HOLD).await
    }

    /// Answers deliveries as they were settled. What something is in the way of
    /// is set aside for `pause`.
    async fn answer(
        &self,
        session: &mut Session,
        deliveries: Vec<Delivery>,
        items: Vec<Item>,
        settled: Vec<Settlement>,
        pause: Duration,
    ) -> Result<(), Lost> {
        let mut done = Vec::with_capacity(deliveries.len());
        let all = deliveries.len();
        for ((delivery, item), settlement) in deliveries.into_iter().zip(items).zip(settled) {
            match settlement {
                Settlement::Verdict(verdict) => {
                    if let Verdict::Dead(why) = &verdict {
                        match session.dead.bury(&delivery, &item.body, why).await {
                            Ok(()) => {}
                            Err(error @ DeadError::Slow) => {
                                warn!(reason = %report(&error), "a dead letter has to wait");
                                self.set_aside(session, delivery, item, pause);
                                continue;
                            }
                            Err(error) => {
                                // What was committed need not come again.
                                ack(session, &done, false).await?;
                                return Err(error.into());
                            }
                        }
                        warn!(
                            event = item.event_id().unwrap_or("unreadable"),
                            reason = why.code(),
                            "dead letter: {why}"
                        );
                    }
                    self.metrics.verdict(&verdict);
                    done.push(delivery.delivery_tag);
                }
                Settlement::Held => self.set_aside(session, delivery, item, pause),
                Settlement::Crashed => self.give_back(session, &delivery).await?,
            }
        }
        ack(session, &done, done.len() == all).await
    }

    async fn give_back(&self, session: &Session, delivery: &Delivery) -> Result<(), Lost> {
        self.metrics.crashes.inc();
        let event = delivery.properties.message_id().as_ref();
        error!(event = event.map(ShortString::as_str), "a handler panicked");
        let options = BasicRejectOptions { requeue: true };
        let tag = delivery.delivery_tag;
        Ok(session.channel.basic_reject(tag, options).await?)
    }

    async fn try_held(&self, session: &mut Session, stop: &CancellationToken) -> Result<(), Lost> {
        let Held {
            delivery,
            item,
            pause,
            ..
        } = session.held.swap_remove(session.first_held());
        let Ok(settled) = self.settler.settle_one(&item, stop).await else {
            return Ok(());
        };
        let pause = LONGEST_HOLD.min(pause * 2);
        self.answer(session, vec![delivery], vec![item], vec![settled], pause)
            .await
    }

    fn set_aside(&self, session: &mut Session, delivery: Delivery, item: Item, pause: Duration) {
        self.metrics.held.inc();
        session.held.push(Held::new(delivery, item, pause));
    }
}

impl Session {
    /// Which of those set aside is due first.
    fn first_held(&self) -> usize {
        let due = self.held.iter().enumerate();
        due.min_by_key(|(_, held)| held.until)
            .map_or(0, |(index, _)| index)
    }

    /// When the first of those set aside is due.
    fn next_due(&self) -> Option<Instant> {
        self.held.iter().map(|held| held.until).min()
    }
}

/// Waits until then; forever if there is no such moment.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn ack(session: &Session, done: &[u64], whole: bool) -> Result<(), Lost> {
    for ack in acks(done, whole, !session.held.is_empty()) {
        let options = BasicAckOptions {
            multiple: ack.multiple,
        };
        session.channel.basic_ack(ack.tag, options).await?;
    }
    Ok(())
}
