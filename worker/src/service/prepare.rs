//! What has to hold of the database before the worker takes its first event.

use shared::telemetry::report;
use store::{
    ConnectError, Connection, Database,
    migrations::{self, MigrateError},
    session,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::backoff::Backoff;

/// Why the database is not fit for this worker.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The tables.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The database does not keep what a session of the worker is set to.
    #[error(transparent)]
    Session(#[from] ConnectError),
}

/// Makes or checks the tables as soon as the database is there; `false` if the
/// worker is to stop before.
pub(super) async fn prepare(
    database: &Database,
    migrate: bool,
    stop: &CancellationToken,
) -> Result<bool, PrepareError> {
    /// A database that is taken away in the middle looks like one that refuses:
    /// so many tries tell them apart.
    const TRIES: u32 = 3;
    let mut backoff = Backoff::default();
    let mut failed = 0;
    loop {
        match tables(database, migrate).await {
            Ok(Tables::Ready) => return Ok(true),
            Ok(Tables::Away(reason)) => warn!(reason, "the database is away"),
            Err(error) if may_pass(&error) && failed < TRIES => {
                failed += 1;
                warn!(reason = %report(&error), "the tables are not ready; trying again");
            }
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = backoff.pause() => {}
            () = stop.cancelled() => return Ok(false),
        }
    }
}

/// Whether another try may end differently.
fn may_pass(error: &PrepareError) -> bool {
    match error {
        PrepareError::Migrate(error) => error.may_pass(),
        PrepareError::Session(_) => true,
    }
}

enum Tables {
    Ready,
    /// The database cannot be reached, or takes no writes.
    Away(String),
}

async fn tables(database: &Database, migrate: bool) -> Result<Tables, PrepareError> {
    let connection = match database.connect().await {
        Ok(connection) => connection,
        Err(error @ ConnectError::Unreachable(_)) => return Ok(Tables::Away(report(&error))),
        Err(error @ ConnectError::Settings(_)) => return Err(error.into()),
    };
    warn_of_unsafe_settings(&connection).await?;
    if !migrate {
        migrations::check(connection).await?;
        return Ok(Tables::Ready);
    }
    if !session::takes_writes(&connection)
        .await
        .map_err(MigrateError::from)?
    {
        return Ok(Tables::Away("it takes no writes now".into()));
    }
    for name in migrations::up(connection).await? {
        info!("migration run: {name}");
    }
    Ok(Tables::Ready)
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
