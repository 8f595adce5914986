//! Publishes news for the main app: the rows of `stripe.outbox`, by id, each at least once.
//!
//! Writers hold one lock until they commit, so no row appears below one that was read. The next
//! row of a booking or host is published only once the broker has the one before it: a queue
//! that is full for a moment must not get them the other way round.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::Duration,
};

use chrono::SecondsFormat;
use lapin::BasicProperties;
use serde_json::{Value, json};
use shared::{
    amqp::{self, AmqpUrl},
    topology::{self, Names, Role},
};
use store::{
    Pool,
    outbox::{self, Row, State},
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    amqp::publisher::{Answers, Message, PublishError, Publisher},
    jobs::{Job, JobError},
    metrics::changes::ChangeMetrics,
};

/// The most messages in one batch: what a kill leaves to be sent again.
const BATCH: i64 = 500;
/// The most rows that are kept, published or not: about half a gigabyte.
pub const MOST_ROWS: i64 = 1_000_000;
/// How often the rows are counted.
const TRIM_EVERY: Duration = Duration::from_secs(10);
/// The most rows removed at once, so that nobody waits for it.
const TRIM_BATCH: i64 = 10_000;
/// How long the broker may take for a batch. One that is short of memory takes none, and says
/// nothing.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(30);
/// The version of the messages' form.
const FORM: u32 = 1;
/// How a message is to be kept by the broker: on disk.
const PERSISTENT: u8 = 2;

/// The job.
#[derive(Debug)]
pub struct PublishChanges {
    /// The database.
    pub pool: Pool,
    /// The broker.
    pub amqp: AmqpUrl,
    /// The names of exchanges and queues.
    pub names: Names,
    /// What is counted.
    pub metrics: ChangeMetrics,
    /// The most rows that are kept.
    pub most_rows: i64,
    publisher: Option<Publisher>,
    trimmed_at: Option<Instant>,
}

impl Job for PublishChanges {
    const NAME: &'static str = "publish_changes";
    const EVERY: Duration = Duration::from_millis(200);

    async fn run_once(&mut self, stop: &CancellationToken) -> Result<(), JobError> {
        // First: where the broker is away, the rows grow.
        self.trim(stop).await?;
        tokio::select! {
            published = self.publish_waiting(stop) => published,
            // What was not marked is sent once more.
            () = stop.cancelled() => Ok(()),
        }
    }
}

impl PublishChanges {
    /// The job, which is not connected yet.
    pub fn new(pool: Pool, amqp: AmqpUrl, names: Names, metrics: ChangeMetrics) -> Self {
        Self {
            pool,
            amqp,
            names,
            metrics,
            most_rows: MOST_ROWS,
            publisher: None,
            trimmed_at: None,
        }
    }

    /// Removes rows that are too many.
    async fn trim(&mut self, stop: &CancellationToken) -> Result<(), JobError> {
        if self.trimmed_at.is_some_and(|at| at.elapsed() < TRIM_EVERY) {
            return Ok(());
        }
        while !stop.is_cancelled() {
            let conn = self.pool.get().await.map_err(store::Error::from)?;
            let removed = outbox::trim(&conn, self.most_rows, TRIM_BATCH).await?;
            if removed == 0 {
                break;
            }
            warn!(removed, "there was more news for the main app than is kept");
        }
        self.trimmed_at = Some(Instant::now());
        Ok(())
    }

    async fn publish_waiting(&mut self, stop: &CancellationToken) -> Result<(), JobError> {
        // Also where nothing waits: the main app binds its queue to the exchange.
        let mut publisher = match self.publisher.take() {
            Some(publisher) => publisher,
            None => self.open().await?,
        };
        while !stop.is_cancelled() {
            let rows = {
                let conn = self.pool.get().await.map_err(store::Error::from)?;
                outbox::waiting(&conn, BATCH).await?
            };
            if rows.is_empty() {
                break;
            }
            let mut answers = Answers::default();
            let published = timeout(PUBLISH_TIMEOUT, async {
                for wave in waves(&rows) {
                    let messages = wave.into_iter().map(message).collect();
                    answers.add(publisher.publish(messages).await?);
                    if answers.refused {
                        break;
                    }
                }
                Ok::<(), PublishError>(())
            });
            let published = published.await;
            // What the broker has is not sent again because of what it does not have.
            self.mark(&rows, &answers).await?;
            published??;
            if answers.refused {
                return Err("the broker did not take all news".into());
            }
        }
        // A publisher that failed is not kept.
        self.publisher = Some(publisher);
        Ok(())
    }

    async fn open(&self) -> Result<Publisher, JobError> {
        const NAME: &str = "dialoom-worker-changes";
        let connection = amqp::connect(&self.amqp, NAME).await?;
        topology::declare(&connection, &self.names, Role::Changes).await?;
        let _closed_already = connection.close(200, "declared".into()).await;
        let exchange = self.names.changes.clone();
        Ok(Publisher::open(&self.amqp, NAME, exchange, id_of).await?)
    }

    async fn mark(&self, rows: &[Row], answers: &Answers) -> Result<(), JobError> {
        let marks = marks(rows, answers);
        let count = |state| {
            let of_state = marks.iter().filter(|(_, one)| *one == state);
            u64::try_from(of_state.count()).unwrap_or(u64::MAX)
        };
        let (published, unheard) = (count(State::Published), count(State::Unheard));
        debug!(published, unheard, "news for the main app");
        for id in &answers.unacceptable {
            warn!(
                id,
                "the broker takes no such message; nobody hears this news"
            );
        }
        let conn = self.pool.get().await.map_err(store::Error::from)?;
        outbox::mark(&conn, &marks).await?;
        self.metrics.published.inc_by(published);
        self.metrics.unheard.inc_by(unheard);
        Ok(())
    }
}

/// The rows in their order, cut so that no two of one booking or host are in one wave.
fn waves(rows: &[Row]) -> Vec<Vec<&Row>> {
    let mut waves = Vec::new();
    let (mut wave, mut keys) = (Vec::new(), BTreeSet::new());
    for row in rows {
        if !keys.insert(&row.key) {
            waves.push(mem::take(&mut wave));
            keys = BTreeSet::from([&row.key]);
        }
        wave.push(row);
    }
    if !wave.is_empty() {
        waves.push(wave);
    }
    waves
}

/// What became of the rows, but for those without an answer, which are published once more.
fn marks(rows: &[Row], answers: &Answers) -> Vec<(i64, State)> {
    let states = [
        (&answers.confirmed, State::Published),
        (&answers.unroutable, State::Unheard),
        (&answers.unacceptable, State::Unheard),
    ];
    let answered: BTreeMap<&str, State> = states
        .into_iter()
        .flat_map(|(ids, state)| ids.iter().map(move |id| (id.as_str(), state)))
        .collect();
    let state = |row: &Row| answered.get(row.id.to_string().as_str()).copied();
    let marks = rows.iter().filter_map(|row| Some((row.id, state(row)?)));
    marks.collect()
}

/// A row as NestJS takes events. Other consumers read `data`.
fn message(row: &Row) -> Message {
    let id = row.id.to_string();
    let mut data = json!({
        "version": FORM,
        "id": id,
        "kind": row.kind,
        "rowVersion": row.row_version,
        "at": row.created_at.to_rfc3339_opts(SecondsFormat::Millis, true),
    });
    if let (Value::Object(data), Value::Object(facts)) = (&mut data, &row.payload) {
        data.extend(facts.clone());
    }
    let body = json!({ "pattern": row.kind, "data": data });
    Message {
        routing_key: row.kind.clone(),
        body: body.to_string().into_bytes(),
        properties: BasicProperties::default()
            .with_message_id(id.as_str().into())
            .with_type(row.kind.as_str().into())
            .with_content_type("application/json".into())
            .with_delivery_mode(PERSISTENT),
        key: id,
    }
}

fn id_of(properties: &BasicProperties) -> Option<String> {
    properties.message_id().as_ref().map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, key: &str) -> Row {
        Row {
            id,
            kind: "booking.invoice.paid".into(),
            key: key.into(),
            row_version: id,
            payload: json!({ "bookingId": 7 }),
            created_at: chrono::DateTime::default(),
            state: "waiting".into(),
            published_at: None,
        }
    }

    #[test]
    fn no_two_rows_of_one_booking_are_in_one_wave() {
        let rows = [(1, "7"), (2, "8"), (3, "7"), (4, "9"), (5, "7"), (6, "8")];
        let rows = rows.map(|(id, key)| row(id, key));
        let waves = waves(&rows);
        let ids = waves
            .iter()
            .map(|wave| wave.iter().map(|row| row.id).collect());
        let expected = [vec![1, 2], vec![3, 4], vec![5, 6]];
        assert_eq!(ids.collect::<Vec<Vec<i64>>>(), expected);
        assert!(super::waves(&[]).is_empty());
    }

    #[test]
    fn a_row_without_an_answer_is_published_once_more() {
        let rows = [row(1, "7"), row(2, "8"), row(3, "9"), row(4, "10")];
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        let answers = Answers {
            confirmed: ids(&["2", "3"]),
            unroutable: ids(&["4"]),
            refused: true,
            ..Answers::default()
        };
        let expected = [
            (2, State::Published),
            (3, State::Published),
            (4, State::Unheard),
        ];
        assert_eq!(marks(&rows, &answers), expected);
    }

    #[test]
    fn a_message_is_an_event_of_nestjs() {
        let message = message(&row(5, "7"));
        let body: Value = serde_json::from_slice(&message.body).unwrap();
        let expected = json!({
            "pattern": "booking.invoice.paid",
            "data": {
                "version": 1, "id": "5", "kind": "booking.invoice.paid", "rowVersion": 5,
                "at": "1970-01-01T00:00:00.000Z", "bookingId": 7,
            },
        });
        assert_eq!(body, expected);
    }
}
