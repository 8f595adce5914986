//! Counts what waits in the tables, for the gauges of this worker.
//!
//! Every worker counts for itself, without the lock of other jobs: the gauges of a worker that
//! leaves the counting to another would show what was there when it last had the lock.

use std::time::Duration;

use store::{Error, Pool, backlog};
use tokio_util::sync::CancellationToken;

use crate::{
    jobs::{Job, JobError},
    metrics::gauges::BacklogGauges,
};

/// The job.
#[derive(Debug)]
pub struct CountBacklog {
    /// The database.
    pub pool: Pool,
    /// Where the numbers are shown.
    pub gauges: BacklogGauges,
}

impl Job for CountBacklog {
    const NAME: &'static str = "count_backlog";
    const EVERY: Duration = Duration::from_secs(15);
    const IS_EXCLUSIVE: bool = false;

    async fn run_once(&mut self, _: &CancellationToken) -> Result<(), JobError> {
        let counted = self.count().await;
        match &counted {
            Ok(backlog) => self.gauges.show(backlog),
            Err(_) => self.gauges.clear(),
        }
        Ok(counted.map(drop)?)
    }
}

impl CountBacklog {
    async fn count(&self) -> Result<backlog::Backlog, Error> {
        let conn = self.pool.get().await?;
        backlog::count(&conn).await
    }
}
