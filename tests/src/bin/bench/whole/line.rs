//! Both services under a load of one rate.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use harness::services::{self, Service};

use crate::{
    child::{Child, Job},
    load::{
        open::{Open, Sent},
        watch::Watch,
    },
    plan::Plan,
    shares::{Clock, Shares},
    stage::{self, Database, Keep, Stage},
};

/// The most requests at once.
const CONNECTIONS: usize = 256;
/// Rows looked for in a second, about.
const WATCHED: u32 = 200;
/// The pause between two looks at the rows, where they come one by one and where
/// they come by the hundred.
const OFTEN: Duration = Duration::ZERO;
const SELDOM: Duration = Duration::from_millis(3);
/// Bound for rows to appear after the last request.
const ROW_BOUND: Duration = Duration::from_secs(5);
/// Bound for answers after the last request.
const ANSWER_BOUND: Duration = Duration::from_secs(1);
/// How often the queue is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// A queue with more than this many seconds' load in it grows.
const GROWING: u32 = 2;

/// The two services with a database.
pub(super) struct Line {
    ingest: Service,
    worker: Service,
    database: Database,
}

/// What one load gave.
pub(super) struct Run {
    pub(super) sent: Sent,
    pub(super) shares: Shares,
    /// The most messages that waited in the queue.
    pub(super) deepest: u32,
    /// Whether the queue stayed short and every request was answered 200 in time.
    pub(super) is_held: bool,
}

/// What becomes of a load that is too much.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Growing {
    GoOn,
    GiveUp,
}

/// A load of this rate; `None` if it was given up.
pub(super) async fn run(
    stage: &mut Stage,
    plan: &Plan,
    line: &mut Line,
    rate: u32,
    time: Duration,
    growing: Growing,
) -> Result<Option<Run>> {
    let time = time + plan.warm_up;
    let job = line.load(stage, plan, rate, time);
    stage.settle().await?;
    let mut load = Child::ready(&Job::Open(job?)).await?;
    load.begin().await?;
    let clock = Clock::start(stage, &line.processes(&load));
    let start = Instant::now();
    let (mut deepest, mut shares) = (0, None);
    loop {
        let ended = tokio::time::timeout(LOOK, load.end()).await;
        if start.elapsed() >= time || ended.is_ok() {
            let phase = format!("whole way, {rate} a second");
            shares.get_or_insert_with(|| clock.stop(phase));
        }
        if let Ok(ended) = ended {
            ended?;
            break;
        }
        deepest = deepest.max(stage.queue().await?.waiting);
        if deepest > rate * GROWING && growing == Growing::GiveUp {
            drop(load);
            line.renew(stage).await?;
            return Ok(None);
        }
    }
    let sent: Sent = load.result().await?;
    let in_time = sent.elapsed < time + ANSWER_BOUND;
    let is_held =
        deepest <= rate * GROWING && sent.refused == 0 && sent.visible.unseen == 0 && in_time;
    if !is_held {
        line.renew(stage).await?;
    }
    let shares = shares.context("the load has ended")?;
    Ok(Some(Run {
        sent,
        shares,
        deepest,
        is_held,
    }))
}

impl Line {
    pub(super) async fn start(stage: &Stage, database: Database) -> Result<Self> {
        let ingest = stage.ingest().await?;
        let mut worker = stage.worker(&database, Keep::Bytes)?;
        worker.until_ready(services::READY_BOUND).await?;
        Ok(Self {
            ingest,
            worker,
            database,
        })
    }

    /// Stops both services.
    pub(super) async fn stop(mut self) -> Result<Database> {
        self.ingest.terminate().await?;
        self.worker.terminate().await?;
        Ok(self.database)
    }

    /// Throws away what a load that was too much has left in the queue.
    async fn renew(&mut self, stage: &Stage) -> Result<()> {
        self.worker.terminate().await?;
        stage.purge().await?;
        self.worker.start_again().await
    }

    fn load(&self, stage: &mut Stage, plan: &Plan, rate: u32, time: Duration) -> Result<Open> {
        let count = (time * rate).as_secs();
        Ok(Open {
            address: stage::address(&self.ingest)?,
            secret: stage.secret.clone(),
            events: stage.events(count),
            rate,
            connections: CONNECTIONS,
            warm_up: plan.warm_up,
            watch: Watch {
                database_url: self.database.url.clone(),
                one_in: rate.div_ceil(WATCHED),
                pause: if rate > WATCHED { SELDOM } else { OFTEN },
                bound: ROW_BOUND,
            },
        })
    }

    fn processes(&self, load: &Child) -> [(&'static str, i32); 3] {
        [
            ("ingest", self.ingest.process().pid()),
            ("worker", self.worker.process().pid()),
            ("load", load.pid()),
        ]
    }
}
