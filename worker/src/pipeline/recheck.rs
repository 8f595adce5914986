//! Computes objects and rows anew of which no event came: what was in their way may be gone.

use domain::{main_app::Obstacle, source::Recheck};
use store::{Error, main_app::LeftAlone, savepoint, working_set::Projected};
use tokio_util::sync::CancellationToken;

use crate::pipeline::{
    executor::{BatchExecutor, Stopped},
    process::Work,
};

impl BatchExecutor {
    /// Computes objects and rows anew whose obstacle may be gone.
    ///
    /// # Errors
    /// The database cannot be used now, or a lock of its own tables is in the way.
    pub async fn recheck(&self, recheck: &Recheck) -> Result<Projected, Error> {
        let work = Work {
            deliveries: &[],
            recheck,
            archive: self.archive,
        };
        // A mistake that shows with one row's state must not end the worker.
        let tried = self.attempt(work, LeftAlone::default(), &[]).await;
        Ok(tried.ok_or(Error::Panicked)??.saved.projected)
    }

    /// As [`BatchExecutor::recheck`], for one object or row. Where the main app does not let it be
    /// committed, or it ends its session twice in a row, its rows are noted as pending with that
    /// obstacle.
    ///
    /// # Errors
    /// As [`BatchExecutor::recheck`].
    pub async fn recheck_one(&self, one: &Recheck, stop: &CancellationToken) -> Result<(), Error> {
        let mut tried = self.recheck(one).await;
        if tried.as_ref().is_err_and(Error::is_session_lost) {
            // Where the server's process crashed, it needs a moment.
            if self.wait_until_available(stop).await == Err(Stopped) {
                return tried.map(drop);
            }
            tried = self.recheck(one).await;
        }
        match tried {
            Ok(_) => Ok(()),
            Err(error) if error.is_unavailable() && !error.is_session_lost() => Err(error),
            Err(error) => {
                if error.is_session_lost() && self.wait_until_available(stop).await == Err(Stopped)
                {
                    return Err(error);
                }
                self.note_refused(one, savepoint::obstacle(&error)).await
            }
        }
    }

    /// As [`BatchExecutor::recheck`], but for the main app's rows: they are noted as pending with
    /// this obstacle, which showed only at the commit.
    async fn note_refused(&self, recheck: &Recheck, obstacle: Obstacle) -> Result<(), Error> {
        let work = Work {
            deliveries: &[],
            recheck,
            archive: self.archive,
        };
        let tried = self.attempt(work, LeftAlone::all(obstacle), &[]).await;
        tried.ok_or(Error::Panicked)?.map(drop)
    }
}
