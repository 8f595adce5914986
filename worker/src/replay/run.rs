//! One run of a replay, in batches with confirms. Progress is committed batch by batch, so
//! that a run may be stopped or killed at any moment, repeated, and run twice at once.

use std::time::Duration;

use lapin::BasicProperties;
use shared::{amqp::AmqpUrl, topology::Names};
use store::{
    Connection, Error, archive,
    dead_letter::{self, State},
    dead_letter_query, event_query,
    paging::{Cursor, Order},
    replay::{self, Kind},
    replay_item::{self, ReplayItemKey},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    amqp::{
        headers, properties_json,
        publisher::{Message, OpenError, PublishError, Publisher},
    },
    replay::original_message,
};

/// The most messages in one batch: what a kill leaves to be sent again. At 2 MiB
/// each, the most that ingest takes, they hold 100 MiB.
const BATCH: u64 = 50;

/// Why a run ended early. Items that were taken and not sent are returned.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The database.
    #[error("the database failed")]
    Database(#[from] Error),
    /// There is no channel to the broker.
    #[error("the broker cannot be reached")]
    Open(#[from] OpenError),
    /// The broker failed.
    #[error("the broker failed")]
    Broker(#[from] lapin::Error),
    /// The broker refused a message.
    #[error("the broker refused a message")]
    Refused,
}

impl From<PublishError> for ReplayError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Open(error) => Self::Open(error),
            PublishError::Broker(error) => Self::Broker(error),
        }
    }
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

/// The events to send again.
#[derive(Clone, Debug)]
pub enum Selection {
    /// Dead letters in the filter's state.
    DeadLetters(dead_letter_query::Filter),
    /// Events of the ledger whose bytes are archived.
    Events(event_query::Filter),
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Confirmed by the broker.
    pub published: u64,
    /// Returned: no queue takes its type.
    pub unroutable: u64,
    /// Not sent: its bytes are not archived.
    pub without_bytes: u64,
    /// Not sent: the broker does not take the message as it is.
    pub unacceptable: u64,
    /// Told to stop before the end.
    pub stopped: bool,
}

impl Progress {
    fn done(self) -> u64 {
        self.published + self.unroutable + self.without_bytes + self.unacceptable
    }
}

/// A run under way.
pub struct Run {
    /// Its number.
    pub id: i64,
    conn: Connection,
    publisher: Publisher,
    plan: Plan,
    selection: Selection,
}

impl Run {
    /// Begins a run. The connection is the run's own: it holds the run's lock.
    ///
    /// # Errors
    /// [`ReplayError`]; nothing was sent.
    pub async fn start(
        conn: Connection,
        amqp: &AmqpUrl,
        names: &Names,
        plan: Plan,
        selection: Selection,
    ) -> Result<Self, ReplayError> {
        let key_of =
            |properties: &BasicProperties| headers::replay_item(properties).map(|item| item.item);
        let exchange = names.events.clone();
        let publisher = Publisher::open(amqp, "dialoom-replay", exchange, key_of).await?;
        let kind = match selection {
            Selection::DeadLetters(_) => Kind::DeadLetters,
            Selection::Events(_) => Kind::Events,
        };
        let id = replay::start(&conn, kind, &plan.by, &plan.selection).await?;
        Ok(Self {
            id,
            conn,
            publisher,
            plan,
            selection,
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
        let abandoned = store::write(&mut self.conn, async |tx| replay::abandon(tx, id).await);
        let abandoned = abandoned.await;
        let sent = sent?;
        abandoned?;
        replay::end(&self.conn, self.id).await?;
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
            let messages = match self.selection.clone() {
                Selection::DeadLetters(filter) => self.claim(&filter, &mut letters, room).await?,
                Selection::Events(filter) => {
                    let (seen, messages) = self.read_events(&filter, &mut events, room).await?;
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
        filter: &dead_letter_query::Filter,
        after: &mut Option<Cursor>,
        room: u64,
    ) -> Result<Option<Vec<Message>>, ReplayError> {
        let (order, limit) = (Order::OldestFirst, i64::try_from(room).unwrap_or(1));
        let page =
            dead_letter_query::page(&self.conn, filter, order, after.as_ref(), limit).await?;
        let Some(last) = page.last() else {
            return Ok(None);
        };
        *after = Some(last.cursor());
        let ids: Vec<String> = page.into_iter().map(|letter| letter.id).collect();
        let (id, by) = (self.id, self.plan.by.as_str());
        let state = filter.state.unwrap_or(State::Dead);
        let claimed = store::write(&mut self.conn, async |tx| {
            let claimed = dead_letter::claim_for_replay(tx, id, by, &ids, state).await?;
            replay_item::add(tx, id, &claimed).await?;
            Ok::<_, Error>(claimed)
        })
        .await?;
        let letters = dead_letter_query::load(&self.conn, &claimed).await?;
        let message = |letter: dead_letter_query::Letter| {
            let properties = properties_json::to_send(&letter.properties);
            self.message(letter.id, letter.routing_key, letter.body, properties)
        };
        Ok(Some(letters.into_iter().map(message).collect()))
    }

    /// The next events, and how many rows of the ledger were read for them.
    async fn read_events(
        &mut self,
        filter: &event_query::Filter,
        after: &mut Option<Cursor>,
        room: u64,
    ) -> Result<(u64, Vec<Message>), ReplayError> {
        let (order, limit) = (Order::OldestFirst, i64::try_from(room).unwrap_or(1));
        let page = event_query::page(&self.conn, filter, order, after.as_ref(), limit).await?;
        let seen = count(&page);
        if let Some(last) = page.last() {
            *after = Some(last.cursor());
        }
        let ids: Vec<String> = page.iter().map(|row| row.id.clone()).collect();
        let mut bodies = archive::bodies(&self.conn, &ids).await?;
        let events = page.into_iter().filter_map(|row| {
            let body = bodies.remove(&row.id)?;
            let properties = original_message::properties(&row, &body)?;
            Some(self.message(row.id, row.event_type, body, properties))
        });
        let messages: Vec<Message> = events.collect();
        let ids: Vec<String> = messages.iter().map(|message| message.key.clone()).collect();
        replay_item::add(&self.conn, self.id, &ids).await?;
        Ok((seen, messages))
    }

    fn message(
        &self,
        item: String,
        routing_key: String,
        body: Vec<u8>,
        properties: BasicProperties,
    ) -> Message {
        let key = ReplayItemKey {
            run: self.id,
            item: item.clone(),
        };
        Message {
            key: item,
            routing_key,
            body,
            properties: headers::add_replay_headers(properties, &key, &self.plan.by),
        }
    }

    async fn publish(
        &mut self,
        messages: Vec<Message>,
        progress: &mut Progress,
    ) -> Result<(), ReplayError> {
        let sent = self.publisher.publish(messages).await?;
        replay_item::mark_published(&self.conn, self.id, &sent.confirmed).await?;
        progress.published += count(&sent.confirmed);
        if !sent.unroutable.is_empty() {
            let id = self.id;
            store::write(&mut self.conn, async |tx| {
                replay::unroutable(tx, id, &sent.unroutable).await
            })
            .await?;
            progress.unroutable += count(&sent.unroutable);
        }
        // They stay open, and are abandoned with the run's end.
        progress.unacceptable += count(&sent.unacceptable);
        if sent.refused {
            return Err(ReplayError::Refused);
        }
        Ok(())
    }

    /// The connection, to follow the outcomes with.
    pub fn into_connection(self) -> Connection {
        self.conn
    }
}

/// Returns the items that killed runs took and did not send: their dead letters are dead
/// again. To be done before anything is selected.
///
/// # Errors
/// The database does not answer.
pub async fn recover(conn: &mut Connection) -> Result<(), Error> {
    store::write(conn, async |tx| {
        for run in replay::killed(tx).await? {
            replay::abandon(tx, run).await?;
            replay::end(tx, run).await?;
        }
        Ok(())
    })
    .await
}

fn count<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}
