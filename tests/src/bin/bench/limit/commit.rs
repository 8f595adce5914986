//! One row, one transaction, one at a time: the least that a commit takes.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio_postgres::Client;

use crate::latency::{Latencies, Latency};

/// Commits `count` rows, one by one, to a table of its own. `pace` is the least
/// time from one to the next.
pub(crate) async fn one_by_one(client: &Client, count: u32, pace: Duration) -> Result<Latency> {
    client
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS single (id text PRIMARY KEY, at timestamptz DEFAULT now())",
        )
        .await?;
    let insert = client
        .prepare("INSERT INTO single (id) VALUES ($1)")
        .await?;
    let mut latencies = Latencies::default();
    for number in 0..count {
        let id = format!("evt_{:x}{number:08x}", fastrand::u64(..));
        let start = Instant::now();
        client.execute(&insert, &[&id]).await?;
        latencies.push(start.elapsed());
        tokio::time::sleep_until((start + pace).into()).await;
    }
    Ok(latencies.summary())
}
