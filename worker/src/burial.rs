//! Takes what reached the dead-letter queue, for whatever reason, and writes it
//! down in `stripe.dead_letter`. The queue is the transport, the table is the
//! record: nothing is acked before its row is committed, and while the database
//! is away the queue holds everything.

pub mod grave;

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection, pooled_connection::bb8::Pool};
use futures_util::{FutureExt, StreamExt};
use lapin::{
    Channel, Connection, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::{FieldTable, ShortString},
};
use shared::{
    amqp::{self, AmqpUrl},
    clock,
    telemetry::report,
    topology::{self, Names, TopologyError},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    backoff::Backoff,
    failure::Failure,
    metrics::Metrics,
    store::{
        burial, replay,
        replay::{Note, Ticket},
        transaction,
    },
    ticket,
};

/// The most dead letters in one transaction, and in hand: dead letters are few,
/// and at 2 MiB each, the most that ingest takes, they hold 100 MiB.
const BATCH: u16 = 50;
/// How long a dead letter that cannot be written down is set aside. It stays in
/// the queue.
const HOLD: Duration = Duration::from_secs(30);
/// How long a batch in hand may take when the worker is to stop.
const GRACE: Duration = Duration::from_secs(3);

/// The worker's end of the dead-letter queue.
#[derive(Clone, Debug)]
pub struct Burial {
    /// The broker.
    pub amqp: AmqpUrl,
    /// The names of exchanges and queues.
    pub names: Names,
    /// The database.
    pub pool: Pool<AsyncPgConnection>,
    /// What is counted.
    pub metrics: Metrics,
}

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
    #[error("some dead letters could not be written down; they are tried again")]
    Held,
}

impl Burial {
    /// Writes dead letters down until `stop`, over as many connections as it
    /// takes.
    pub async fn run(&self, stop: &CancellationToken) {
        let mut backoff = Backoff::default();
        while !stop.is_cancelled() {
            let lost = tokio::select! {
                ended = self.session(stop) => match ended {
                    Ok(()) => return,
                    Err(lost) => lost,
                },
                // What is not acked comes again; a transaction rolls back.
                () = after(stop, GRACE) => return,
            };
            warn!(reason = %report(&lost), "dead letters stay in the queue; trying again");
            if matches!(lost, Lost::Held) {
                backoff = Backoff::default();
            }
            tokio::select! {
                () = backoff.pause() => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn session(&self, stop: &CancellationToken) -> Result<(), Lost> {
        self.until_there().await;
        let (_connection, channel, mut consumer) = self.connect().await?;
        info!(queue = %self.names.dead_queue, "keeping dead letters");
        let mut held = 0_usize;
        loop {
            let patience = if held == 0 { Duration::MAX } else { HOLD };
            let batch = tokio::select! {
                batch = tokio::time::timeout(patience, gather(&mut consumer)) => {
                    batch.map_err(|_elapsed| Lost::Held)??
                }
                () = stop.cancelled() => {
                    channel.close(200, "stopping".into()).await?;
                    return Ok(());
                }
            };
            held += self.keep(&channel, batch).await?;
            if held >= usize::from(BATCH) {
                tokio::time::sleep(HOLD).await;
                return Err(Lost::Held);
            }
        }
    }

    async fn connect(&self) -> Result<(Connection, Channel, Consumer), Lost> {
        let connection = amqp::connect(&self.amqp, "dialoom-worker-dead-letters").await?;
        topology::declare(&connection, &self.names).await?;
        let channel = connection.create_channel().await?;
        channel.basic_qos(BATCH, BasicQosOptions::default()).await?;
        let consumer = channel
            .basic_consume(
                self.names.dead_queue.clone(),
                ShortString::default(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        Ok((connection, channel, consumer))
    }

    /// Writes a batch down and acks it; gives back how many could not be.
    async fn keep(&self, channel: &Channel, batch: Vec<Delivery>) -> Result<usize, Lost> {
        let now = DateTime::from_timestamp_millis(clock::now_unix_millis()).unwrap_or_default();
        if self.write(&batch, now).await.is_ok() {
            for delivery in &batch {
                ack(channel, delivery).await?;
            }
            return Ok(0);
        }
        let mut held = 0;
        for delivery in &batch {
            match self.write(std::slice::from_ref(delivery), now).await {
                Ok(()) => ack(channel, delivery).await?,
                Err(failure) => {
                    held += 1;
                    let event = delivery.properties.message_id().as_ref();
                    error!(
                        event = event.map(ShortString::as_str),
                        reason = %report(&failure),
                        "a dead letter cannot be written down; it stays in the queue"
                    );
                }
            }
        }
        Ok(held)
    }

    /// Writes dead letters down in one transaction; waits while the database is
    /// away.
    async fn write(&self, batch: &[Delivery], now: DateTime<Utc>) -> Result<(), Failure> {
        let mut backoff = Backoff::default();
        loop {
            match self.once(batch, now).await {
                Err(failure @ Failure::Away(_)) => {
                    warn!(reason = %report(&failure), "the database is away; dead letters wait");
                    backoff.pause().await;
                }
                done => {
                    if done.is_ok() {
                        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
                        self.metrics.buried.inc_by(count);
                    }
                    return done;
                }
            }
        }
    }

    async fn once(&self, batch: &[Delivery], now: DateTime<Utc>) -> Result<(), Failure> {
        let mut conn = self.pool.get().await?;
        conn.transaction(async |conn| {
            // Between an event's verdict and here it may be applied after all.
            transaction::take_turn(conn).await?;
            bury(conn, batch, now).await
        })
        .await
    }

    async fn until_there(&self) {
        let mut backoff = Backoff::default();
        while self.pool.get().await.is_err() {
            backoff.pause().await;
        }
    }
}

async fn bury(
    conn: &AsyncPgConnection,
    batch: &[Delivery],
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let mut notes: Vec<(Ticket, String)> = Vec::new();
    for delivery in batch {
        let grave = grave::read(delivery, now);
        burial::bury(conn, &grave).await?;
        if let Some(ticket) = ticket::read(&delivery.properties) {
            notes.push((ticket, grave.reason));
        }
    }
    let notes: Vec<Note<'_>> = notes
        .iter()
        .map(|(ticket, reason)| Note {
            ticket,
            outcome: "dead",
            reason: Some(reason),
        })
        .collect();
    Ok(replay::note(conn, &notes).await?)
}

/// Waits until so long after the stop.
async fn after(stop: &CancellationToken, grace: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(grace).await;
}

async fn ack(channel: &Channel, delivery: &Delivery) -> lapin::Result<()> {
    channel
        .basic_ack(delivery.delivery_tag, BasicAckOptions::default())
        .await
}

/// Waits for one delivery and takes what else is there.
async fn gather(consumer: &mut Consumer) -> Result<Vec<Delivery>, Lost> {
    let mut deliveries = vec![consumer.next().await.ok_or(Lost::Ended)??];
    while deliveries.len() < usize::from(BATCH) {
        match consumer.next().now_or_never() {
            Some(Some(delivery)) => deliveries.push(delivery?),
            // An end is seen again by the next gathering.
            Some(None) | None => break,
        }
    }
    Ok(deliveries)
}
