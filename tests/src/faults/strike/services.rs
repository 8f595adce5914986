//! The project's own processes are killed, or stopped in good order.

use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus};

use anyhow::{Result, ensure};
use fastrand::Rng;
use rustix::process::Signal;
use tokio::sync::Mutex;

use super::super::{fault::Fault, stage::Stage};
use crate::services::Service;

pub(in super::super) async fn strike(fault: Fault, stage: &Stage, rng: &mut Rng) -> Result<()> {
    let one = &stage.workers[rng.usize(..2)];
    match fault {
        Fault::IngestKilled => kill(stage, &[&stage.ingest]).await,
        Fault::WorkerKilled => kill(stage, &[one]).await,
        Fault::WorkersKilled => kill(stage, &[&stage.workers[0], &stage.workers[1]]).await,
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
