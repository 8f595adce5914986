//! Sends events again whose type a worker of an earlier release did not handle.
//!
//! A release that handles a new type binds it to the queue that all workers share, so that
//! a worker of the release before takes some of these events while both run. It records
//! them as ignored and archives their bytes.

use event::EventType;
use shared::{amqp::AmqpUrl, topology::Names};
use std::time::Duration;
use store::{
    Database, Error, Pool,
    event_query::{self, Filter},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    health::Health,
    jobs::{Job, JobError},
    replay::run::{Plan, Run, Selection},
};

/// The most events in one run.
const PAGE: i64 = 500;
/// The most events a second: there is room for Stripe's own beside them.
const RATE: u64 = 500;

/// The job.
#[derive(Debug)]
pub struct ReplayNewlyHandled {
    /// The connections of the worker's loops.
    pub pool: Pool,
    /// The database: a replay has a connection of its own.
    pub database: Database,
    /// The broker.
    pub amqp: AmqpUrl,
    /// The names of exchanges and queues.
    pub names: Names,
    /// Whether the queue is there, with the bindings of this release.
    pub health: Health,
}

impl Job for ReplayNewlyHandled {
    const NAME: &'static str = "replay_newly_handled";
    const EVERY: Duration = Duration::from_secs(10);

    async fn run_once(&mut self, stop: &CancellationToken) -> Result<(), JobError> {
        if self.health.is_consuming() {
            self.replay(stop).await?;
        }
        Ok(())
    }
}

impl ReplayNewlyHandled {
    /// Sends some of the events again, by a replay of its own. Returns how many the
    /// broker has confirmed.
    ///
    /// # Errors
    /// The database or the broker is away. What was not sent is sent by a later run.
    pub async fn replay(&self, stop: &CancellationToken) -> Result<u64, JobError> {
        let types: Vec<&str> = EventType::ALL.iter().map(|one| one.as_str()).collect();
        let ids = {
            let conn = self.pool.get().await.map_err(Error::from)?;
            event_query::newly_handled(&conn, &types, PAGE).await?
        };
        if ids.is_empty() {
            return Ok(0);
        }
        let plan = Plan {
            by: "worker".to_owned(),
            selection: "events whose type was not handled".to_owned(),
            limit: u64::try_from(ids.len()).unwrap_or(u64::MAX),
            rate: RATE,
        };
        let selection = Selection::Events(Filter {
            ids,
            ..Filter::default()
        });
        let conn = self.database.connect().await?;
        let mut run = Run::start(conn, &self.amqp, &self.names, plan, selection).await?;
        let sent = run.send(stop, |_| {}).await?;
        info!(
            replay = run.id,
            events = sent.published,
            "sent events again that were not handled before"
        );
        Ok(sent.published)
    }
}
