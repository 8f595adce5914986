//! The project's own processes are killed, stopped in good order, or paused.

use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus, time::Duration};

use anyhow::{Result, ensure};
use fastrand::Rng;
use rustix::process::Signal;
use tokio::{sync::Mutex, time::sleep};

use super::super::{fault::Fault, stage::Stage};
use crate::services::Service;

/// The key of the writers' lock, as `worker/store/src/write_tx.rs` has it.
const WRITERS: i64 = 0x5354_5249_5045_0002;

pub(in super::super) async fn strike(fault: Fault, stage: &Stage, rng: &mut Rng) -> Result<()> {
    let one = &stage.workers[rng.usize(..2)];
    match fault {
        Fault::IngestKilled => kill(stage, &[&stage.ingest]).await,
        Fault::WorkerKilled => kill(stage, &[one]).await,
        Fault::WorkersKilled => kill(stage, &[&stage.workers[0], &stage.workers[1]]).await,
        Fault::WriterPaused => pause_writer(stage, one, rng).await,
        Fault::IngestStopped => stop(stage, &stage.ingest).await,
        _ => stop(stage, one).await,
    }
}

/// They are all dead before the first is started again.
async fn kill(stage: &Stage, services: &[&Mutex<Service>]) -> Result<()> {
    let mut held = Vec::new();
    for service in services {
        held.push(service.lock().await);
    }
    for service in &mut held {
        stage.count_kill();
        service.kill9();
    }
    for service in &mut held {
        service.restart()?;
    }
    Ok(())
}

async fn stop(stage: &Stage, service: &Mutex<Service>) -> Result<()> {
    let mut service = service.lock().await;
    stage.count_kill();
    let status = service.terminate().await?;
    // One that has only just been started may not listen to signals yet.
    let is_orderly =
        |status: ExitStatus| status.success() || status.signal() == Some(Signal::TERM.as_raw());
    ensure!(
        status.is_none_or(is_orderly),
        "a service that was asked to stop ended with {status:?}"
    );
    service.restart()
}

/// Pauses the worker while it holds the writers' lock. Where it cannot be met with it, this
/// strike is left out.
async fn pause_writer(stage: &Stage, worker: &Mutex<Service>, rng: &mut Rng) -> Result<()> {
    /// How often it is tried.
    const TRIES: usize = 50;
    /// No worker that runs holds the lock so long.
    const LONG: Duration = Duration::from_millis(300);
    /// Shorter, and longer, than the database waits for a session that says nothing.
    const PAUSES: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(13)];
    let worker = worker.lock().await;
    for _ in 0..TRIES {
        // The database may be broken as well.
        let Some(before) = writer(stage).await else {
            sleep(LONG / 10).await;
            continue;
        };
        worker.process().pause();
        sleep(LONG).await;
        let is_held = writer(stage).await.is_some_and(|now| now == before);
        if is_held {
            sleep(PAUSES[rng.usize(..PAUSES.len())]).await;
        }
        worker.process().resume();
        if is_held {
            stage.count_kill();
            return Ok(());
        }
    }
    Ok(())
}

/// The transaction that holds the writers' lock; `None` where none does.
async fn writer(stage: &Stage) -> Option<String> {
    // Whoever has broken the database holds it.
    let url = stage.database.try_lock().ok()?.url();
    let asked = async {
        let client = crate::servers::postgres::connect(&url).await.ok()?;
        let query = "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'advisory' \
            AND granted AND (classid::bigint << 32) + objid::bigint = $1";
        let row = client.query_opt(query, &[&WRITERS]).await.ok()??;
        Some(row.get(0))
    };
    tokio::time::timeout(Duration::from_secs(1), asked)
        .await
        .ok()?
}
