//! Migrations: embedded, run at start under a lock, undone on request.
//!
//! Diesel's list of migrations is kept in the schema `stripe`, because the main
//! app's migrations would drop a table in theirs that they do not know.

use std::time::Instant;

use diesel::{
    QueryableByName,
    migration::{MigrationSource, MigrationVersion},
    pg::Pg,
    sql_types::{Nullable, Text},
};
use diesel_async::{AsyncMigrationHarness, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

pub use crate::lock_holders::Locked;
use crate::{
    Connection, Error,
    lock_holders::{self, LOCK_TIMEOUT},
    schema_check::{self, Missing, SchemaMismatch},
};

/// The migrations, in order.
const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations");

/// The schema of the worker's own tables.
const OWN: &str = "stripe";

/// One at a time, whichever worker comes first: an arbitrary number that only
/// this project's migrations lock.
const LOCK: i64 = 0x5354_5249_5045_0001;

/// Makes the schema of the worker's own tables where there is none, which not
/// every role may that may migrate.
const MAKE_SCHEMA: &str = "DO $$ BEGIN \
     IF to_regnamespace('stripe') IS NULL THEN \
         CREATE SCHEMA stripe; \
         COMMENT ON SCHEMA stripe IS 'What the worker keeps besides the main app''s tables.'; \
     END IF; \
 END $$";

/// Drops what `MAKE_SCHEMA` and Diesel made. A schema that holds something of
/// somebody else stays.
const DROP_SCHEMA: &str = "DROP TABLE IF EXISTS stripe.__diesel_schema_migrations; \
 DO $$ BEGIN \
     DROP SCHEMA stripe; \
 EXCEPTION WHEN dependent_objects_still_exist THEN NULL; \
 END $$";

type Harness = AsyncMigrationHarness<Connection>;

/// Why the tables could not be made or adopted.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Postgres could not be reached or refused.
    #[error("the database could not be migrated")]
    Database(#[from] Error),
    /// A migration failed; it was undone.
    #[error("a migration failed: {0}")]
    Migration(String),
    /// No schema to make the main app's tables in.
    #[error(
        "there is no schema for the main app's tables: none in the search path ({0}) exists or \
         may be used; make it, or name another with ?schema= in DATABASE_URL"
    )]
    NoSchema(String),
    /// The main app's tables would be among the worker's own.
    #[error(
        "the schema {OWN} is the worker's own: name the main app's with ?schema= in DATABASE_URL"
    )]
    OwnSchema,
    /// A migration of this release did not run, and this worker was told to run
    /// none.
    #[error("the migration {0} has not run: run `worker migrate` with the owner's role first")]
    Pending(String),
    /// Somebody else had locked a table that a migration needs; the migration was undone.
    #[error("{0}")]
    Locked(Locked),
    /// A table of the main app does not fit.
    #[error("{0}")]
    Schema(SchemaMismatch),
}

impl From<diesel::result::Error> for MigrateError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error.into())
    }
}

impl MigrateError {
    /// Whether another try may end differently: the database can be taken away
    /// in the middle of it.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Database(_) | Self::Migration(_) | Self::Pending(_) | Self::Locked(_) => true,
            Self::NoSchema(_) | Self::OwnSchema | Self::Schema(_) => false,
        }
    }
}

#[derive(QueryableByName)]
struct Schema {
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
    #[diesel(sql_type = Text)]
    path: String,
}

/// Runs what is pending and checks that the main app's tables fit. Returns
/// the names of the migrations that ran.
///
/// # Errors
/// [`MigrateError`]; nothing of a failed migration stays but a value that it added to an
/// enum, and nothing at all is written where a table does not fit.
pub async fn up(mut connection: Connection) -> Result<Vec<String>, MigrateError> {
    let schema = lock(&mut connection).await?;
    check_schema(&connection, &schema, Missing::Allowed).await?;
    prepare(&mut connection, &schema).await?;
    let mut harness = AsyncMigrationHarness::new(connection);
    let mut ran = Vec::new();
    while has_pending(&mut harness)? {
        let next = |harness: &mut Harness| {
            let ran = MigrationHarness::<Pg>::run_next_migration(harness, MIGRATIONS);
            ran.map(|name| name.to_string())
        };
        harness = step(harness, &schema, &mut ran, next).await?;
    }
    check_schema(&harness.into_inner(), &schema, Missing::Refused).await?;
    Ok(ran)
}

/// Undoes all migrations. The main app's own tables stay, and a schema `stripe`
/// that somebody else uses too.
pub async fn down(mut connection: Connection) -> Result<Vec<String>, MigrateError> {
    let schema = lock(&mut connection).await?;
    prepare(&mut connection, &schema).await?;
    let mut harness = AsyncMigrationHarness::new(connection);
    let mut undone = Vec::new();
    while !names(MigrationHarness::<Pg>::applied_migrations(&mut harness))?.is_empty() {
        let last = |harness: &mut Harness| {
            let undone = MigrationHarness::<Pg>::revert_last_migration(harness, MIGRATIONS);
            undone.map(|name| name.to_string())
        };
        harness = step(harness, &schema, &mut undone, last).await?;
    }
    harness.into_inner().batch_execute(DROP_SCHEMA).await?;
    Ok(undone)
}

/// Runs the next migration alone. Returns its name; `None` where all have run.
pub async fn run_next(connection: Connection) -> Result<Option<String>, MigrateError> {
    let mut harness = harness(connection).await?;
    if !has_pending(&mut harness)? {
        return Ok(None);
    }
    let ran = MigrationHarness::<Pg>::run_next_migration(&mut harness, MIGRATIONS);
    Ok(names(ran.map(|name| vec![name]))?.pop())
}

/// Undoes the last migration alone. Returns its name; `None` where none has run.
pub async fn undo_last(connection: Connection) -> Result<Option<String>, MigrateError> {
    let mut harness = harness(connection).await?;
    let applied = MigrationHarness::<Pg>::applied_migrations(&mut harness);
    if names(applied)?.is_empty() {
        return Ok(None);
    }
    let undone = MigrationHarness::<Pg>::revert_last_migration(&mut harness, MIGRATIONS);
    Ok(names(undone.map(|name| vec![name]))?.pop())
}

fn has_pending(harness: &mut AsyncMigrationHarness<Connection>) -> Result<bool, MigrateError> {
    MigrationHarness::<Pg>::has_pending_migration(harness, MIGRATIONS)
        .map_err(|error| MigrateError::Migration(error.to_string()))
}

/// Runs and undoes single migrations. No one else migrates as long as it lives.
async fn harness(
    mut connection: Connection,
) -> Result<AsyncMigrationHarness<Connection>, MigrateError> {
    let schema = lock(&mut connection).await?;
    prepare(&mut connection, &schema).await?;
    Ok(AsyncMigrationHarness::new(connection))
}

/// Runs or undoes one migration, in a transaction of its own, and adds its name to `done`.
async fn step(
    mut harness: Harness,
    schema: &str,
    done: &mut Vec<String>,
    migrate: impl FnOnce(&mut Harness) -> diesel::migration::Result<String>,
) -> Result<Harness, MigrateError> {
    let begun = Instant::now();
    let error = match migrate(&mut harness) {
        Ok(name) => {
            done.push(name);
            return Ok(harness);
        }
        Err(error) => error.to_string(),
    };
    // Postgres says in the server's language that the lock was not had in time.
    let is_late = begun.elapsed() >= LOCK_TIMEOUT;
    let tables = match is_late {
        true => lock_holders::of(&harness.into_inner(), schema).await?,
        false => Vec::new(),
    };
    if tables.is_empty() && !error.contains("lock timeout") {
        return Err(MigrateError::Migration(error));
    }
    Err(MigrateError::Locked(Locked {
        done: std::mem::take(done),
        tables,
    }))
}

/// Checks only that the tables are those of this release and that the main app's
/// fit, for a worker that was told not to migrate.
pub async fn check(mut connection: Connection) -> Result<(), MigrateError> {
    let schema = default_schema(&mut connection).await?;
    check_schema(&connection, &schema, Missing::Added).await?;
    match pending(&mut connection).await? {
        Some(name) => Err(MigrateError::Pending(name)),
        None => check_schema(&connection, &schema, Missing::Refused).await,
    }
}

#[derive(QueryableByName)]
struct Ran {
    #[diesel(sql_type = Text)]
    version: String,
}

/// The first migration that has not run. Diesel would make its list of them first,
/// which not every role may.
async fn pending(connection: &mut Connection) -> Result<Option<String>, MigrateError> {
    let query = "SELECT version FROM stripe.__diesel_schema_migrations";
    let ran: Vec<Ran> = diesel::sql_query(query).load(connection).await?;
    let mut names = MigrationSource::<Pg>::migrations(&MIGRATIONS)
        .map_err(|error| MigrateError::Migration(error.to_string()))?
        .iter()
        .filter(|migration| {
            let version = migration.name().version();
            !ran.iter().any(|ran| version == ran.version.as_str().into())
        })
        .map(|migration| migration.name().to_string())
        .collect::<Vec<_>>();
    names.sort();
    Ok(names.into_iter().next())
}

async fn check_schema(
    connection: &Connection,
    schema: &str,
    missing: Missing,
) -> Result<(), MigrateError> {
    match schema_check::check(connection, schema, missing).await? {
        None => Ok(()),
        Some(mismatch) => Err(MigrateError::Schema(mismatch)),
    }
}

/// Waits until no one else migrates; the lock goes with the connection. Gives
/// the main app's schema.
async fn lock(connection: &mut Connection) -> Result<String, MigrateError> {
    let schema = default_schema(connection).await?;
    let seconds = LOCK_TIMEOUT.as_secs();
    let wait = format!(
        "SET lock_timeout = 0; SET statement_timeout = 0; SELECT pg_advisory_lock({LOCK}); \
         SET lock_timeout = '{seconds}s'"
    );
    connection.batch_execute(&wait).await?;
    Ok(schema)
}

/// Makes the connection one that migrations can run on.
async fn prepare(connection: &mut Connection, schema: &str) -> Result<(), MigrateError> {
    let quoted = schema.replace('\'', "''");
    let settings = format!(
        "{MAKE_SCHEMA}; \
         SELECT set_config('stripe_sync.app_schema', '{quoted}', false); \
         SET search_path = {OWN}"
    );
    Ok(connection.batch_execute(&settings).await?)
}

async fn default_schema(connection: &mut Connection) -> Result<String, MigrateError> {
    let row: Schema = diesel::sql_query(
        "SELECT current_schema()::text AS name, current_setting('search_path') AS path",
    )
    .get_result(connection)
    .await?;
    match row.name {
        None => Err(MigrateError::NoSchema(row.path)),
        Some(name) if name == OWN => Err(MigrateError::OwnSchema),
        Some(name) => Ok(name),
    }
}

fn names(
    done: diesel::migration::Result<Vec<MigrationVersion<'_>>>,
) -> Result<Vec<String>, MigrateError> {
    let done = done.map_err(|error| MigrateError::Migration(error.to_string()))?;
    Ok(done.iter().map(ToString::to_string).collect())
}
