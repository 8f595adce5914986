//! `stack down`: stops what `up` has started.

use std::fs;

use anyhow::Result;
use harness::{
    private,
    servers::{postgres, rabbitmq},
    services::{Service, ServiceOptions},
};

use crate::settings::{self, Settings};

/// Stops the services first, so that they can finish what they have begun, and
/// then the servers.
pub(crate) async fn down(wipe: bool) -> Result<()> {
    let _lock = settings::lock()?;
    let folder = settings::folder()?;
    let settings = Settings::read_or_make(&folder)?;
    let ingest =
        ServiceOptions::ingest_on(&folder, settings.ingest_port, settings.ingest_admin_port);
    let worker = ServiceOptions::worker_on(&folder, settings.worker_admin_port);
    let (ingest, worker) = tokio::join!(stop(ingest), stop(worker));
    let (postgres_folder, rabbitmq_folder) = (folder.join("postgres"), folder.join("rabbitmq"));
    let (postgres, rabbitmq) = tokio::join!(
        postgres::stop(&postgres_folder),
        rabbitmq::stop(&rabbitmq_folder)
    );
    let stopped = [
        ("ingest", ingest),
        ("worker", worker),
        ("PostgreSQL", postgres),
        ("RabbitMQ", rabbitmq),
    ];
    let mut failure = None;
    let mut some = false;
    for (name, result) in stopped {
        match result {
            Ok(None) => continue,
            Ok(Some(pid)) => println!("{name} is down (was process {pid})"),
            Err(error) => failure = Some(error.context(format!("stopping {name}"))),
        }
        some = true;
    }
    if !some {
        println!("Nothing was up.");
    }
    let _ = fs::remove_file(settings::env_file()?);
    if wipe {
        private::wipe(&folder)?;
        println!("The data is gone.");
    }
    failure.map_or(Ok(()), Err)
}

async fn stop(options: ServiceOptions) -> Result<Option<i32>> {
    let Some(mut service) = Service::find(options) else {
        return Ok(None);
    };
    let pid = service.process().pid();
    service.terminate().await?;
    Ok(Some(pid))
}
