//! Migrations: embedded, run at start under a lock, undone on request.
//!
//! Diesel's list of migrations is kept in the schema `stripe`, because the main
//! app's migrations would drop a table in theirs that they do not know.

use diesel::{
    QueryableByName,
    pg::Pg,
    sql_types::{Nullable, Text},
};
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::adopt::{self, Misfit};

/// The migrations, in order.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations");

/// One at a time, whichever worker comes first: an arbitrary number that only
/// this project's migrations lock.
const LOCK: i64 = 0x5354_5249_5045_0001;

/// Why the tables could not be made or adopted.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Postgres could not be reached or refused.
    #[error("the database could not be migrated")]
    Database(#[from] diesel::result::Error),
    /// A migration failed; it was undone.
    #[error("a migration failed: {0}")]
    Migration(String),
    /// No schema to make the main app's tables in.
    #[error("the database has no default schema (is the schema in search_path missing?)")]
    NoSchema,
    /// A table of the main app does not fit.
    #[error("{0}")]
    Misfit(Misfit),
}

#[derive(QueryableByName)]
struct Schema {
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
}

/// Runs what is pending and checks that the main app's tables fit. Gives back
/// the names of the migrations that ran.
///
/// # Errors
/// [`MigrateError`]; nothing of a failed migration stays.
pub async fn up(connection: AsyncPgConnection) -> Result<Vec<String>, MigrateError> {
    let (connection, schema) = prepare(connection).await?;
    let mut harness = AsyncMigrationHarness::new(connection);
    let ran: Vec<String> = harness
        .run_pending_migrations(MIGRATIONS)
        .map_err(|error| MigrateError::Migration(error.to_string()))?
        .iter()
        .map(ToString::to_string)
        .collect();
    let connection = harness.into_inner();
    match adopt::misfit(&connection, &schema).await? {
        None => Ok(ran),
        Some(misfit) => Err(MigrateError::Misfit(misfit)),
    }
}

/// Undoes all migrations. The main app's own tables stay.
///
/// # Errors
/// [`MigrateError`].
pub async fn down(connection: AsyncPgConnection) -> Result<Vec<String>, MigrateError> {
    let (connection, _) = prepare(connection).await?;
    let mut harness = AsyncMigrationHarness::new(connection);
    let undone = MigrationHarness::<Pg>::revert_all_migrations(&mut harness, MIGRATIONS)
        .map_err(|error| MigrateError::Migration(error.to_string()))?
        .iter()
        .map(ToString::to_string)
        .collect();
    harness
        .into_inner()
        .batch_execute("DROP SCHEMA stripe CASCADE")
        .await?;
    Ok(undone)
}

/// Checks only that the main app's tables fit, for a worker that was told not
/// to migrate.
///
/// # Errors
/// [`MigrateError`].
pub async fn check(mut connection: AsyncPgConnection) -> Result<(), MigrateError> {
    let schema = default_schema(&mut connection).await?;
    match adopt::misfit(&connection, &schema).await? {
        None => Ok(()),
        Some(misfit) => Err(MigrateError::Misfit(misfit)),
    }
}

async fn prepare(
    mut connection: AsyncPgConnection,
) -> Result<(AsyncPgConnection, String), MigrateError> {
    let schema = default_schema(&mut connection).await?;
    let quoted = schema.replace('\'', "''");
    let settings = format!(
        "SET lock_timeout = 0; SET statement_timeout = 0; \
         SELECT pg_advisory_lock({LOCK}); \
         SELECT set_config('stripe_sync.app_schema', '{quoted}', false); \
         CREATE SCHEMA IF NOT EXISTS stripe; \
         COMMENT ON SCHEMA stripe IS 'What the worker keeps besides the main app''s tables.'; \
         SET search_path = stripe, public"
    );
    connection.batch_execute(&settings).await?;
    Ok((connection, schema))
}

async fn default_schema(connection: &mut AsyncPgConnection) -> Result<String, MigrateError> {
    let row: Schema = diesel::sql_query("SELECT current_schema()::text AS name")
        .get_result(connection)
        .await?;
    row.name.ok_or(MigrateError::NoSchema)
}
