//! Sending events again: the stored bytes and properties, through the same
//! exchange, in batches with confirms. Progress is committed batch by batch, so
//! that a run may be stopped or killed at any moment, repeated, and run twice at
//! once.

mod publisher;

use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use event::Envelope;
use lapin::BasicProperties;
use shared::{
    amqp::{self, AmqpUrl},
    message,
    topology::Names,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    properties,
    store::{dead_letter, history, kept, page::Order, replay::Ticket, replay_run, transaction},
    ticket,
};
use publisher::{Message, Publisher};

/// The most messages in one batch: what a kill leaves to be sent again. At 2 MiB
/// each, the most that ingest takes, they hold 100 MiB.
const BATCH: u64 = 50;

/// Why a run ended early. What was taken and not sent is given back.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The database.
    #[error("the database failed")]
    Database(#[from] diesel::result::Error),
    /// There is no connection to the broker.
    #[error("the broker cannot be reached")]
    Connect(#[from] amqp::ConnectError),
    /// The broker failed.
    #[error("the broker failed")]
    Broker(#[from] lapin::Error),
    /// The broker refused a message.
    #[error("the broker refused a message")]
    Refused,
}

/// Who sends again, how much and how fast.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who.
    pub by: String,
    /// What was asked for, for the record.
    pub selection: String,
    /// The most that is sent.
    pub limit: u64,
    /// The most that is sent in a second.
    pub rate: u64,
}

/// What is sent again.
#[derive(Clone, Debug)]
pub enum What {
    /// Dead letters in the filter's state.
    DeadLetters(dead_letter::Filter),
    /// Events of the ledger whose bytes are kept.
    Events(history::Filter),
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Confirmed by the broker.
    pub published: u64,
    /// Given back: no queue takes its type.
    pub unroutable: u64,
    /// Not sent: its bytes are not kept.
    pub without_bytes: u64,
    /// Told to stop before the end.
    pub stopped: bool,
}

impl Progress {
    fn done(self) -> u64 {
        self.published + self.unroutable + self.without_bytes
    }
}

/// A run under way.
pub struct Run {
    /// Its number.
    pub id: i64,
    conn: AsyncPgConnection,
    publisher: Publisher,
    plan: Plan,
    what: What,
}

impl Run {
    /// Begins a run. The connection is the run's own: it holds the run's lock.
    ///
    /// # Errors
    /// [`ReplayError`]; nothing was sent.
    pub async fn start(
        conn: AsyncPgConnection,
        amqp: &AmqpUrl,
        names: &Names,
        plan: Plan,
        what: What,
    ) -> Result<Self, ReplayError> {
        let publisher = Publisher::connect(amqp, names).await?;
        let kind = match what {
            What::DeadLetters(_) => "dead_letters",
            What::Events(_) => "events",
        };
        let id = replay_run::start(&conn, kind, &plan.by, &plan.selection).await?;
        Ok(Self {
            id,
            conn,
            publisher,
            plan,
            what,
        })
    }

    /// Sends until all is sent or `stop`; tells each batch's progress.
    ///
    /// # Errors
    /// [`ReplayError`]. What was sent stays sent and is on record.
    pub async fn send(
        &mut self,
        stop: &CancellationToken,
        mut tell: impl FnMut(Progress),
    ) -> Result<Progress, ReplayError> {
        let sent = self.send_all(stop, &mut tell).await;
        let id = self.id;
        let abandon = async |conn: &mut AsyncPgConnection| {
            transaction::take_turn(conn).await?;
            replay_run::abandon(conn, id).await
        };
        let abandoned = self.conn.transaction(abandon).await;
        let sent = sent?;
        abandoned?;
        replay_run::end(&self.conn, self.id).await?;
        Ok(sent)
    }

    async fn send_all(
        &mut self,
        stop: &CancellationToken,
        tell: &mut impl FnMut(Progress),
    ) -> Result<Progress, ReplayError> {
        let (started, mut progress) = (Instant::now(), Progress::default());
        let mut letters = None;
        let mut events = None;
        while progress.done() < self.plan.limit {
            if stop.is_cancelled() {
                progress.stopped = true;
                break;
            }
            let room = BATCH.min(self.plan.limit - progress.done());
            let room = room.min(self.plan.rate.max(1));
            let messages = match self.what.clone() {
                What::DeadLetters(filter) => self.claim(&filter, &mut letters, room).await?,
                What::Events(filter) => {
                    let (seen, messages) = self.gather(&filter, &mut events, room).await?;
                    progress.without_bytes += seen - count(&messages);
                    (seen > 0).then_some(messages)
                }
            };
            let Some(messages) = messages else {
                break;
            };
            self.publish(messages, &mut progress).await?;
            tell(progress);
            let due = Duration::from_millis(progress.published * 1000 / self.plan.rate.max(1));
            tokio::select! {
                () = tokio::time::sleep_until(started + due) => {}
                () = stop.cancelled() => {}
            }
        }
        Ok(progress)
    }

    /// The next dead letters, taken for this run; `None` at the end.
    async fn claim(
        &mut self,
        filter: &dead_letter::Filter,
        after: &mut Option<dead_letter::Cursor>,
        room: u64,
    ) -> Result<Option<Vec<Message>>, ReplayError> {
        let (order, limit) = (Order::OldestFirst, i64::try_from(room).unwrap_or(1));
        let page = dead_letter::page(&self.conn, filter, order, after.as_ref(), limit).await?;
        let Some(last) = page.last() else {
            return Ok(None);
        };
        *after = Some(last.cursor());
        let ids: Vec<String> = page.into_iter().map(|letter| letter.id).collect();
        let (id, by) = (self.id, self.plan.by.as_str());
        let state = filter.state.unwrap_or(dead_letter::DEAD);
        let claim = async |conn: &mut AsyncPgConnection| {
            transaction::take_turn(conn).await?;
            replay_run::claim(conn, id, by, &ids, state).await
        };
        let claimed = self.conn.transaction(claim).await?;
        let letters = dead_letter::load(&self.conn, &claimed).await?;
        let message = |letter: dead_letter::Letter| {
            let properties = properties::from_json(&letter.properties);
            self.message(letter.id, letter.routing_key, letter.body, properties)
        };
        Ok(Some(letters.into_iter().map(message).collect()))
    }

    /// The next events and how many of the ledger that took.
    async fn gather(
        &mut self,
        filter: &history::Filter,
        after: &mut Option<history::Cursor>,
        room: u64,
    ) -> Result<(u64, Vec<Message>), ReplayError> {
        let (order, limit) = (Order::OldestFirst, i64::try_from(room).unwrap_or(1));
        let page = history::page(&self.conn, filter, order, after.as_ref(), limit).await?;
        let seen = count(&page);
        if let Some(last) = page.last() {
            *after = Some(last.cursor());
        }
        let ids: Vec<String> = page.iter().map(|row| row.id.clone()).collect();
        let mut kept = kept::bodies(&self.conn, &ids).await?;
        let events = page.into_iter().filter_map(|row| {
            let body = kept.remove(&row.id)?;
            let properties = first_published(&row, &body)?;
            Some(self.message(row.id, row.event_type, body, properties))
        });
        let messages: Vec<Message> = events.collect();
        let ids: Vec<String> = messages
            .iter()
            .map(|message| message.item.clone())
            .collect();
        replay_run::add_items(&self.conn, self.id, &ids).await?;
        Ok((seen, messages))
    }

    fn message(
        &self,
        item: String,
        routing_key: String,
        body: Vec<u8>,
        properties: BasicProperties,
    ) -> Message {
        let ticket = Ticket {
            run: self.id,
            item: item.clone(),
        };
        Message {
            item,
            routing_key,
            body,
            properties: ticket::stamp(properties, &ticket, &self.plan.by),
        }
    }

    async fn publish(
        &mut self,
        messages: Vec<Message>,
        progress: &mut Progress,
    ) -> Result<(), ReplayError> {
        let sent = self.publisher.publish(messages).await?;
        replay_run::published(&self.conn, self.id, &sent.confirmed).await?;
        progress.published += count(&sent.confirmed);
        if !sent.unroutable.is_empty() {
            let id = self.id;
            let give_back = async |conn: &mut AsyncPgConnection| {
                transaction::take_turn(conn).await?;
                replay_run::unroutable(conn, id, &sent.unroutable).await
            };
            self.conn.transaction(give_back).await?;
            progress.unroutable += count(&sent.unroutable);
        }
        if sent.refused {
            return Err(ReplayError::Refused);
        }
        Ok(())
    }

    /// The connection, to follow the outcomes with.
    pub fn into_connection(self) -> AsyncPgConnection {
        self.conn
    }
}

/// What killed runs took and did not send is dead again. To be done before
/// anything is selected.
///
/// # Errors
/// As Postgres says.
pub async fn recover(conn: &mut AsyncPgConnection) -> diesel::QueryResult<()> {
    conn.transaction(async |conn| {
        transaction::take_turn(conn).await?;
        for run in replay_run::killed(conn).await? {
            replay_run::abandon(conn, run).await?;
            replay_run::end(conn, run).await?;
        }
        Ok(())
    })
    .await
}

/// The properties of the event, as ingest made them, if these are its bytes.
pub fn first_published(row: &history::Row, body: &[u8]) -> Option<BasicProperties> {
    let envelope = Envelope::read(body).ok()?;
    let received = row.received_at.unwrap_or(row.first_seen_at);
    // The id of the span within the trace is not kept; any but zero is valid.
    let parent = row
        .trace_id
        .as_ref()
        .map(|trace| format!("00-{trace}-0000000000000001-01"));
    let millis = received.timestamp_millis();
    Some(message::properties(&envelope, millis, parent.as_deref()))
}

fn count<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}
