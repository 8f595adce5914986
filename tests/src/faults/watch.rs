//! What is looked at while a run is on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use tokio::task::JoinHandle;

use super::{stage::Stage, tally::Tally};

/// Restarts services that end by themselves, and sees when workers commit, until this value
/// goes.
pub(super) struct Watch {
    ended: Arc<AtomicUsize>,
    _supervisor: Task,
    _commits: Task,
}

impl Watch {
    pub(super) async fn begin(stage: &Arc<Stage>) -> Result<Self> {
        let ended = Arc::new(AtomicUsize::new(0));
        let supervisor = Arc::clone(stage).supervise(Arc::clone(&ended));
        let client = stage.connect().await?;
        let commits = commits(Arc::clone(stage), Arc::clone(&stage.tally), client);
        Ok(Self {
            ended,
            _supervisor: Task::of(tokio::spawn(supervisor)),
            _commits: Task::of(tokio::spawn(commits)),
        })
    }

    /// How many services ended by themselves.
    pub(super) fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }
}

/// Sees when workers commit, and how long rows are pending.
async fn commits(stage: Arc<Stage>, tally: Arc<Tally>, client: tokio_postgres::Client) {
    const LOOK: Duration = Duration::from_millis(100);
    let query = "SELECT (SELECT max(first_seen_at)::text FROM stripe.event), \
        (SELECT extract(epoch FROM now() - min(first_at))::double precision \
            FROM stripe.pending_projection)";
    let (mut client, mut last) = (Some(client), None);
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(connected) = &client else {
            client = stage.connect().await.ok();
            continue;
        };
        match connected.query_one(query, &[]).await {
            Ok(row) => {
                let oldest: Option<f64> = row.get(1);
                tally.pending(oldest.map(|age| Duration::from_secs_f64(age.max(0.0))));
                let seen: Option<String> = row.get(0);
                if seen != last {
                    tally.commit();
                    last = seen;
                }
            }
            Err(_) => client = None,
        }
    }
}

/// A task that ends with this value.
pub(super) struct Task(JoinHandle<()>);

impl Task {
    pub(super) fn of(task: JoinHandle<()>) -> Self {
        Self(task)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
