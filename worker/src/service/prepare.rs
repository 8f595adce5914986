//! What has to hold of the database before the worker takes its first event.

use std::time::Duration;

use shared::{config::ConfigError, telemetry::report};
use store::{
    ConnectError, Connection, Database,
    migrations::{self, MigrateError},
    outbox::{self, Outbox},
    pooler::{self, Pooled, PoolerError},
    row_security::{self, HiddenTable},
    session,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::deployment::{self, Refusal};
use crate::{backoff::Backoff, config::Config};

/// The pause after a migration that waited for a lock: what waited behind it gets through.
const LOCK_PAUSE: Duration = Duration::from_secs(5);

/// Why the database is not fit for this worker.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// It belongs to another deployment.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tables.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The database does not keep what a session of the worker is set to.
    #[error(transparent)]
    Session(#[from] ConnectError),
    /// A pooler that does not keep sessions answers in the database's place.
    #[error("{0}")]
    Pooled(Pooled),
    /// Row-level security hides rows from the worker's role, or refuses them.
    #[error("{}", hidden_sentence(.0))]
    RowSecurity(Vec<HiddenTable>),
}

/// Makes or checks the tables as soon as the database is there; `false` if the
/// worker is to stop before.
pub(super) async fn prepare(
    config: &Config,
    migrate: bool,
    stop: &CancellationToken,
) -> Result<bool, PrepareError> {
    /// A database that is taken away in the middle looks like one that refuses:
    /// so many tries tell them apart.
    const TRIES: u32 = 3;
    let mut backoff = Backoff::default();
    let mut failed = 0;
    loop {
        let mut wait = backoff.next_pause();
        match tables(config, migrate).await {
            Ok(Tables::Ready) => return Ok(true),
            Ok(Tables::Away(reason)) => warn!(reason, "the database is away"),
            Err(PrepareError::Migrate(MigrateError::Locked(locked))) => {
                migrated("run", &locked.done);
                warn!(reason = %locked, "the tables are not ready; trying again");
                wait = LOCK_PAUSE;
            }
            Err(error) if may_pass(&error) && failed < TRIES => {
                failed += 1;
                warn!(reason = %report(&error), "the tables are not ready; trying again");
            }
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return Ok(false),
        }
    }
}

/// Runs all migrations, or undoes them. While somebody has locked a table that one of them
/// needs, it is tried again. Returns how many were run or undone.
pub async fn migrate(database: &Database, down: bool) -> Result<usize, PrepareError> {
    let verb = if down { "undone" } else { "run" };
    let mut count = 0;
    loop {
        let connection = database.connect().await?;
        let done = if down {
            migrations::down(connection).await
        } else {
            migrations::up(connection).await
        };
        match done {
            Ok(names) => {
                migrated(verb, &names);
                return Ok(count + names.len());
            }
            Err(MigrateError::Locked(locked)) => {
                migrated(verb, &locked.done);
                count += locked.done.len();
                warn!(reason = %locked, "not all migrations are {verb}; trying again");
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
}

fn migrated(verb: &str, names: &[String]) {
    for name in names {
        info!("migration {verb}: {name}");
    }
}

/// Whether another try may end differently.
fn may_pass(error: &PrepareError) -> bool {
    match error {
        PrepareError::Migrate(error) => error.may_pass(),
        PrepareError::Session(_) => true,
        PrepareError::Config(_) | PrepareError::Pooled(_) | PrepareError::RowSecurity(_) => false,
    }
}

/// Why the worker waits although the database answers.
const READ_ONLY: &str = "it takes no writes now";

enum Tables {
    Ready,
    /// The database cannot be reached, or takes no writes.
    Away(String),
}

async fn tables(config: &Config, migrate: bool) -> Result<Tables, PrepareError> {
    match pooler::check(&config.database).await {
        Ok(()) => {}
        Err(PoolerError::Pooled(pooled)) => return Err(PrepareError::Pooled(pooled)),
        Err(PoolerError::Connect(error)) => return away(error),
    }
    let connection = match config.database.connect().await {
        Ok(connection) => connection,
        Err(error) => return away(error),
    };
    // Before anything of another deployment's is migrated.
    if let Err(refusal) = deployment::check_known(&connection, config).await {
        return refused(refusal);
    }
    warn_of_unsafe_settings(&connection).await?;
    if !migrate {
        migrations::check(connection).await?;
    } else if session::takes_writes(&connection)
        .await
        .map_err(MigrateError::from)?
    {
        migrated("run", &migrations::up(connection).await?);
    } else {
        return Ok(Tables::Away(READ_ONLY.into()));
    }
    // The one before may have migrated, with settings of its own.
    match config.database.connect().await {
        Ok(connection) => is_fit(&connection, config).await,
        Err(error) => away(error),
    }
}

/// What holds only after the migrations.
async fn is_fit(connection: &Connection, config: &Config) -> Result<Tables, PrepareError> {
    let hidden = row_security::hidden(connection).await;
    let hidden = hidden.map_err(MigrateError::from)?;
    if !hidden.is_empty() {
        return Err(PrepareError::RowSecurity(hidden));
    }
    if let Err(refusal) = deployment::check(connection, config).await {
        return refused(refusal);
    }
    match note_changes(connection, config.outbox).await {
        Ok(()) => Ok(Tables::Ready),
        Err(refusal) => refused(refusal),
    }
}

/// Notes whether this worker tells the main app news, for the commands beside it.
async fn note_changes(connection: &Connection, ours: Outbox) -> Result<(), Refusal> {
    if outbox::setting(connection).await? == Some(ours) {
        return Ok(());
    }
    if !session::takes_writes(connection).await? {
        return Err(Refusal::ReadOnly);
    }
    Ok(outbox::set(connection, ours).await?)
}

fn away(error: ConnectError) -> Result<Tables, PrepareError> {
    match error {
        ConnectError::Unreachable(_) => Ok(Tables::Away(report(&error))),
        ConnectError::Settings(_) => Err(error.into()),
    }
}

fn refused(refusal: Refusal) -> Result<Tables, PrepareError> {
    match refusal {
        Refusal::Other(error) => Err(error.into()),
        Refusal::ReadOnly => Ok(Tables::Away(READ_ONLY.into())),
        Refusal::Failed(error) => Err(MigrateError::from(error).into()),
    }
}

fn hidden_sentence(hidden: &[HiddenTable]) -> String {
    let tables: Vec<&str> = hidden.iter().map(|one| one.table.as_str()).collect();
    let role = hidden.first().map_or("", |one| one.role.as_str());
    format!(
        "row-level security hides rows of {} from the role {role}, or refuses them: run \
         ALTER ROLE {role} BYPASSRLS, or give the role a policy for all rows \
         (docs/DATABASE.md, Row-level security)",
        tables.join(", ")
    )
}

/// No session can change these settings, so the worker runs with them.
async fn warn_of_unsafe_settings(connection: &Connection) -> Result<(), PrepareError> {
    let off = session::unsafe_settings(connection).await;
    for name in off.map_err(MigrateError::from)? {
        warn!(
            "{name} is off in the database's server: a crash of it can lose events that were \
             acked, unless its storage keeps them otherwise"
        );
    }
    Ok(())
}
