//! Databases that are migrated once and then copied.

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use tokio_postgres::Client;

use super::database::with_database;
use crate::random;

/// Gives the name of the template database of this key, which is made first where
/// it is missing. While it is made, everybody else who asks for it waits.
///
/// A template counts as complete once it is marked as one, which happens last: a
/// process that is killed halfway leaves a database that is made anew.
pub(super) async fn ensure(
    admin: &Client,
    server: &str,
    key: &str,
    migrate: impl AsyncFnOnce(&str) -> Result<()>,
) -> Result<String> {
    let hash = Sha256::digest(key);
    let name = format!("template_{}", random::to_hex(&hash[..12]));
    let mut lock = [0; 8];
    lock.copy_from_slice(&hash[..8]);
    let lock = i64::from_be_bytes(lock);
    // The lock goes with the connection, whatever happens to this process.
    admin
        .execute("SELECT pg_advisory_lock($1)", &[&lock])
        .await
        .context("waiting for the template")?;
    if !is_complete(admin, &name).await? {
        make(admin, server, &name, migrate)
            .await
            .with_context(|| format!("the template database of {key}"))?;
    }
    admin
        .execute("SELECT pg_advisory_unlock($1)", &[&lock])
        .await
        .context("releasing the template")?;
    Ok(name)
}

async fn is_complete(admin: &Client, name: &str) -> Result<bool> {
    let query = "SELECT FROM pg_database WHERE datname = $1 AND datistemplate";
    Ok(admin.query_opt(query, &[&name]).await?.is_some())
}

async fn make(
    admin: &Client,
    server: &str,
    name: &str,
    migrate: impl AsyncFnOnce(&str) -> Result<()>,
) -> Result<()> {
    admin
        .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        .await?;
    admin
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .await?;
    migrate(&with_database(server, name)?).await?;
    // Nobody can be connected to a database while it is copied.
    admin
        .batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        .await?;
    let stragglers = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
    admin.execute(stragglers, &[&name]).await?;
    admin
        .batch_execute(&format!("ALTER DATABASE {name} IS_TEMPLATE true"))
        .await?;
    Ok(())
}
