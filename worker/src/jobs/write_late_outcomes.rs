//! Writes the outcomes of earlier events that a late claim changed and that were too many for the
//! transaction of the claim.

use std::time::Duration;

use domain::source::Recheck;
use store::{Error, late_outcome};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

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
        let (mut has_written, mut failed) = (false, Vec::new());
        let mut first_error: Result<(), Error> = Ok(());
        while worked < RUN && !stop.is_cancelled() {
            let next = {
                let conn = self.executor.pool.get().await.map_err(Error::from)?;
                late_outcome::next(&conn).await?
            };
            // All that is left failed in this run.
            let Some(next) = next.filter(|next| !failed.contains(next)) else {
                break;
            };
            let began = Instant::now();
            match self.executor.recheck_one(&next, stop).await {
                Ok(()) => has_written = true,
                Err(error) if error.is_unavailable() => return Err(error.into()),
                Err(error) => {
                    // Else all others would wait for it.
                    self.put_last(&next).await?;
                    failed.push(next);
                    first_error = first_error.and(Err(error));
                }
            }
            worked += began.elapsed();
        }
        match first_error {
            // The pause after a failed run grows: the others must not wait for it.
            Err(error) if has_written => {
                let objects = failed.len();
                let reason = store::in_log(&error);
                warn!(objects, reason, "late outcomes cannot be written now");
                Ok(())
            }
            result => Ok(result?),
        }
    }
}

impl WriteLateOutcomes {
    /// Has the others looked at first.
    async fn put_last(&self, failed: &Recheck) -> Result<(), Error> {
        let mut conn = self.executor.pool.get().await?;
        store::write(&mut conn, async |tx| {
            late_outcome::replace(tx, &Recheck::default(), failed).await
        })
        .await
    }
}
