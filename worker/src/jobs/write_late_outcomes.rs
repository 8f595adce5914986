//! Writes the outcomes of earlier events that a late claim changed and that were too many for the
//! transaction of the claim.

use std::time::Duration;

use store::late_outcome;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    jobs::{Job, JobError},
    pipeline::executor::BatchExecutor,
};

/// How long one run holds the writers' lock, in all. A host can change again and again what
/// thousands of its events come to: everybody else has the rest of the time.
const RUN: Duration = Duration::from_millis(200);

/// The job.
#[derive(Debug)]
pub struct WriteLateOutcomes {
    /// What computes objects anew, and writes what follows from that.
    pub executor: BatchExecutor,
}

impl Job for WriteLateOutcomes {
    const NAME: &'static str = "write_late_outcomes";
    const EVERY: Duration = Duration::from_secs(1);

    async fn run_once(&mut self, stop: &CancellationToken) -> Result<(), JobError> {
        let mut worked = Duration::ZERO;
        while worked < RUN && !stop.is_cancelled() {
            let next = {
                let conn = self.executor.pool.get().await.map_err(store::Error::from)?;
                late_outcome::next(&conn).await?
            };
            let Some(next) = next else {
                break;
            };
            let began = Instant::now();
            self.executor.recheck(&next).await?;
            worked += began.elapsed();
        }
        Ok(())
    }
}
