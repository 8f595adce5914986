//! Hosts whose accounts are there without a command.

use anyhow::Result;
use tokio_postgres::Client;

/// Notes every account that names a host as that host's, as `worker hosts adopt --all` does:
/// commands use no other.
///
/// # Errors
/// The database is away, or the worker has not made its tables yet.
pub async fn adopt_all(client: &Client) -> Result<()> {
    let adopt = "INSERT INTO stripe.command \
        (key, idempotency_key, payload_hash, api, state, object_id, finished_at) \
        SELECT 'host.onboard:' || host_id, 'adopted', '', 'v1', 'done', id, now() \
        FROM stripe.account WHERE host_id IS NOT NULL";
    client.batch_execute(adopt).await?;
    Ok(())
}
