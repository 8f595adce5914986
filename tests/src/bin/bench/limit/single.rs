//! One raw confirm and one raw commit, with nothing else running, at the rate of the slowest
//! load: a machine with little to do takes longer to wake for each, whoever asks.

use std::time::Duration;

use anyhow::Result;

use super::commit;
use crate::{
    intake,
    plan::Plan,
    stage::{Database, Stage},
};

/// From one confirm or commit to the next: 100 a second.
pub(crate) const PACE: Duration = Duration::from_millis(10);

/// The median of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Single {
    pub(crate) confirm: Duration,
    pub(crate) commit: Duration,
}

impl Single {
    /// One after the other.
    pub(crate) fn both(self) -> Duration {
        self.confirm + self.commit
    }

    /// The lesser of two measurements.
    pub(crate) fn least(self, other: Self) -> Self {
        match self.both() <= other.both() {
            true => self,
            false => other,
        }
    }
}

/// Measures both.
pub(crate) async fn measure(stage: &mut Stage, plan: &Plan, database: &Database) -> Result<Single> {
    let form = stage.least();
    let (confirm, _) = intake::raw(stage, plan, form, 1, PACE).await?;
    let client = database.connect().await?;
    let commit = commit::one_by_one(&client, plan.commits, PACE).await?;
    Ok(Single {
        confirm: confirm.latency.p50,
        commit: commit.p50,
    })
}
