//! PostgreSQL is killed, restarted, paused, made read-only, filled up, or has no
//! connection left.

use std::time::Duration;

use anyhow::Result;
use tokio_postgres::Client;

use super::super::{
    fault::Fault,
    stage::{BOUND, Stage},
};
use crate::{
    servers::postgres,
    wait::{self, Seen},
};

/// How long a state lasts that is no more than a state.
pub(super) const LASTS: Duration = Duration::from_secs(4);
/// Ends all sessions but the one that says it.
const TERMINATE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";

pub(in super::super) async fn strike(fault: Fault, stage: &Stage) -> Result<()> {
    match fault {
        Fault::DatabaseKilled => {
            let mut database = stage.database.lock().await;
            stage.count_kill();
            database.kill();
            database.start_again().await
        }
        Fault::DatabaseRestarted => {
            let mut database = stage.database.lock().await;
            stage.count_kill();
            database.stop().await?;
            database.start_again().await
        }
        Fault::SessionsTerminated => Ok(stage.connect().await?.batch_execute(TERMINATE).await?),
        Fault::ReadOnly => read_only(&stage.connect().await?).await,
        Fault::DiskFull => match &stage.small_disk {
            Some(disk) => {
                disk.fill()?;
                tokio::time::sleep(LASTS).await;
                disk.empty()
            }
            None => Ok(()),
        },
        Fault::DatabasePaused => {
            let database = stage.database.lock().await;
            let Some(process) = database.process() else {
                return Ok(());
            };
            process.pause_all();
            tokio::time::sleep(LASTS).await;
            process.resume_all();
            Ok(())
        }
        Fault::ConnectionsExhausted => exhaust(stage).await,
        _ => fail_over(stage).await,
    }
}

/// Takes all connections, also those that others had, for a while.
async fn exhaust(stage: &Stage) -> Result<()> {
    /// More than the server has.
    const MOST: usize = 2_000;
    let mut taken = vec![stage.connect().await?];
    let url = stage.database.lock().await.url();
    for _ in 0..2 {
        while taken.len() < MOST
            && let Ok(client) = postgres::connect(&url).await
        {
            taken.push(client);
        }
        // Those of the services: of each round all but those that this client has.
        let ours = "SET application_name = 'faults'";
        for client in &taken {
            client.batch_execute(ours).await?;
        }
        let others = format!("{TERMINATE} AND application_name <> 'faults'");
        taken[0].batch_execute(&others).await?;
    }
    tokio::time::sleep(LASTS).await;
    drop(taken);
    wait::until(
        "a free connection",
        BOUND,
        async || match postgres::connect(&url).await {
            Ok(_) => Seen::Reached(()),
            Err(error) => Seen::NotYet(format!("{error:#}")),
        },
    )
    .await
}

/// The primary dies as soon as a standby has all that it has confirmed.
async fn fail_over(stage: &Stage) -> Result<()> {
    let mut database = stage.database.lock().await;
    let standby = database.standby(&stage.new_folder("standby")).await?;
    let client = postgres::connect(&database.url()).await?;
    client
        .batch_execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        .await?;
    client.batch_execute("SELECT pg_reload_conf()").await?;
    let query = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
    wait::until("a synchronous standby", BOUND, async || {
        match client.query_one(query, &[]).await {
            Ok(row) if row.get::<_, i64>(0) == 1 => Seen::Reached(()),
            Ok(_) => Seen::NotYet("none".to_owned()),
            Err(error) => Seen::NotYet(error.to_string()),
        }
    })
    .await?;
    tokio::time::sleep(LASTS).await;
    stage.count_kill();
    database.kill();
    standby.promote().await?;
    stage.database_wire.point_at(&[standby.url()])?;
    *database = standby;
    Ok(())
}

async fn read_only(client: &Client) -> Result<()> {
    let set = "ALTER SYSTEM SET default_transaction_read_only = on";
    let reset = "ALTER SYSTEM RESET default_transaction_read_only";
    let reload = "SELECT pg_reload_conf()";
    client.batch_execute(set).await?;
    client.batch_execute(reload).await?;
    tokio::time::sleep(LASTS).await;
    client.batch_execute(reset).await?;
    Ok(client.batch_execute(reload).await?)
}
