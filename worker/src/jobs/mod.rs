//! Jobs: what the running worker does beside the queue.
//!
//! A job says how often it runs and what one run does. The runner does the rest: the interval,
//! the stop, the back-off after a failure and the metrics. An exclusive job runs on one worker at
//! a time: the runner holds a lock of the database meanwhile.

pub mod count_backlog;
pub mod project_pending;
pub mod prune;
pub mod publish_changes;
pub mod read_accounts;
pub mod replay_newly_handled;
pub mod write_late_outcomes;

use std::{future::Future, time::Duration};

use store::{
    Error, Pool,
    job_lock::{self, Holder},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::metrics::JobMetrics;

/// The longest pause after failures of a job that runs more often.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// When one run of a job elsewhere is so long that its worker may have stopped working: one that is
/// paused keeps its connections and its locks. Most runs take less than ten seconds.
const LONG_RUN: Duration = Duration::from_secs(300);
/// How often the log says so.
const WARN_EVERY: Duration = Duration::from_secs(300);
/// How often it is looked at who has a job's lock: the server stops all locking for a moment.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Why a run of a job failed.
pub type JobError = Box<dyn std::error::Error + Send + Sync>;

/// What the running worker does again and again.
pub trait Job: Send {
    /// Its name, in logs, metrics and its lock.
    const NAME: &'static str;
    /// The pause between two runs.
    const EVERY: Duration;
    /// Whether of several workers one runs it at a time.
    const IS_EXCLUSIVE: bool = true;

    /// Does what there is to do now; it ends early when `stop` is cancelled.
    ///
    /// # Errors
    /// It is tried again after a pause that grows.
    fn run_once(
        &mut self,
        stop: &CancellationToken,
    ) -> impl Future<Output = Result<(), JobError>> + Send;
}

/// Runs a job until `stop`, the first time at once.
pub async fn run<J: Job>(mut job: J, pool: Pool, metrics: JobMetrics, stop: CancellationToken) {
    let mut pause = Duration::ZERO;
    let mut long_run = LongRun::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        let ran = match J::IS_EXCLUSIVE {
            true => run_as_leader(&mut job, &pool, &mut long_run, &stop).await,
            false => job.run_once(&stop).await.map(|()| Ran::Here),
        };
        pause = match ran {
            Ok(Ran::Here) => {
                metrics.ran(J::NAME, true);
                metrics.runs_elsewhere(J::NAME, 0.0);
                J::EVERY
            }
            Ok(Ran::Elsewhere(holder)) => {
                // Workers of one role see each other's sessions.
                if let Some(Holder {
                    pid,
                    seconds: Some(seconds),
                }) = holder
                {
                    let job = J::NAME;
                    metrics.runs_elsewhere(job, seconds);
                    if long_run.is_to_say(seconds, Instant::now()) {
                        warn!(
                            job,
                            pid, seconds, "a job runs elsewhere for long; its worker may be stuck"
                        );
                    }
                }
                J::EVERY
            }
            Err(error) => {
                metrics.ran(J::NAME, false);
                warn!(job = J::NAME, reason = %store::in_log(error.as_ref()), "a job failed; trying again");
                next_pause(pause, J::EVERY)
            }
        };
    }
}

/// Twice as long each time: from the job's own pause to the longest, or from that to the
/// job's own.
fn next_pause(pause: Duration, every: Duration) -> Duration {
    let (least, most) = (every.min(LONGEST_PAUSE), every.max(LONGEST_PAUSE));
    (pause * 2).clamp(least, most)
}

/// Where a job ran.
enum Ran {
    Here,
    /// Another worker is at it, by this session where that was looked at.
    Elsewhere(Option<Holder>),
}

/// When it was last looked who runs a job elsewhere, and when the log last spoke of a long run.
#[derive(Debug, Default)]
struct LongRun {
    looked: Option<Instant>,
    said: Option<Instant>,
}

impl LongRun {
    /// Whether it is to be looked at `now` who runs the job.
    fn is_to_look(&mut self, now: Instant) -> bool {
        let is_to_look = self.looked.is_none_or(|at| now >= at + LOOK_EVERY);
        if is_to_look {
            self.looked = Some(now);
        }
        is_to_look
    }

    /// Whether the log is to say at `now` that the run takes long.
    fn is_to_say(&mut self, seconds: f64, now: Instant) -> bool {
        let is_long = seconds >= LONG_RUN.as_secs_f64();
        let is_to_say = is_long && self.said.is_none_or(|at| now >= at + WARN_EVERY);
        if is_to_say {
            self.said = Some(now);
        }
        is_to_say
    }
}

async fn run_as_leader<J: Job>(
    job: &mut J,
    pool: &Pool,
    long_run: &mut LongRun,
    stop: &CancellationToken,
) -> Result<Ran, JobError> {
    // The lock belongs to this connection's session: should the worker die, or the
    // connection break, the lock goes as well.
    let conn = pool.get().await.map_err(Error::from)?;
    if !job_lock::take(&conn, J::NAME).await? {
        return Ok(Ran::Elsewhere(match long_run.is_to_look(Instant::now()) {
            true => job_lock::holder(&conn, J::NAME).await?,
            false => None,
        }));
    }
    let result = job.run_once(stop).await;
    let released = job_lock::release(&conn, J::NAME).await;
    result?;
    released?;
    Ok(Ran::Here)
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_PAUSE, LongRun, WARN_EVERY, next_pause};
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn the_log_speaks_of_a_long_run_elsewhere_now_and_then() {
        let (start, mut long_run) = (Instant::now(), LongRun::default());
        assert!(!long_run.is_to_say(299.0, start));
        assert!(long_run.is_to_say(300.0, start));
        assert!(!long_run.is_to_say(301.0, start + Duration::from_secs(1)));
        assert!(long_run.is_to_say(600.0, start + WARN_EVERY));
    }

    #[test]
    fn pauses_after_failures_grow_to_a_limit() {
        let every = Duration::from_secs(1);
        let mut pause = Duration::ZERO;
        let pauses: Vec<u64> = (0..7)
            .map(|_| {
                pause = next_pause(pause, every);
                pause.as_secs()
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        let rarely = 3 * LONGEST_PAUSE;
        assert_eq!(next_pause(Duration::ZERO, rarely), LONGEST_PAUSE);
        assert_eq!(next_pause(2 * LONGEST_PAUSE, rarely), rarely);
    }
}
