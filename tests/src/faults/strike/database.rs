//! PostgreSQL is killed, restarted, made read-only, filled up, or used by others
//! in rude ways.

use std::time::{Duration, Instant};

use anyhow::Result;
use fastrand::Rng;
use tokio_postgres::Client;

use super::super::{
    fault::Fault,
    stage::{BOUND, Stage},
    story::HOT,
};
use crate::{
    servers::postgres,
    wait::{self, Seen},
};

/// How long a state lasts that is no more than a state.
const LASTS: Duration = Duration::from_secs(4);

pub(in super::super) async fn strike(fault: Fault, stage: &Stage, rng: &mut Rng) -> Result<()> {
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
        Fault::SessionsTerminated => {
            let client = stage.connect().await?;
            client
                .batch_execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
                )
                .await?;
            Ok(())
        }
        Fault::ReadOnly => read_only(&stage.connect().await?).await,
        Fault::DiskFull => match &stage.small_disk {
            Some(disk) => {
                disk.fill()?;
                tokio::time::sleep(LASTS).await;
                disk.empty()
            }
            None => Ok(()),
        },
        Fault::RowsLocked => {
            let client = stage.connect().await?;
            client
                .batch_execute(&format!("BEGIN; {}", lock(&HOT)))
                .await?;
            tokio::time::sleep(LASTS).await;
            Ok(client.batch_execute("ROLLBACK").await?)
        }
        Fault::Failover => fail_over(stage).await,
        _ => deadlocks(stage, rng).await,
    }
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

fn lock(bookings: &[i32]) -> String {
    let bookings: Vec<String> = bookings.iter().map(i32::to_string).collect();
    let bookings = bookings.join(", ");
    format!(r#"SELECT FROM "Invoice" WHERE "bookingId" IN ({bookings}) FOR UPDATE"#)
}

/// The main app locks one of two rows and then the other, now this and now that
/// one first, as the workers write both.
async fn deadlocks(stage: &Stage, rng: &mut Rng) -> Result<()> {
    let client = stage.connect().await?;
    let start = Instant::now();
    while start.elapsed() < LASTS {
        let (first, second) = if rng.bool() {
            (HOT[0], HOT[1])
        } else {
            (HOT[1], HOT[0])
        };
        let locked = client
            .batch_execute(&format!(
                "BEGIN; {}; SELECT pg_sleep(0.1); {}; COMMIT",
                lock(&[first]),
                lock(&[second])
            ))
            .await;
        if locked.is_err() {
            // The victim may be the main app itself.
            client.batch_execute("ROLLBACK").await?;
        }
    }
    Ok(())
}
