//! Who is in the way of a migration, a query or an event.

use std::{fmt, time::Duration};

use diesel::{
    QueryableByName,
    sql_types::{Bool, Text},
};
use diesel_async::RunQueryDsl;

use crate::{Connection, Result};

/// How long a migration waits for a table that somebody else has locked. Whoever wants the
/// table meanwhile waits behind it, so the main app is held up for as long at most.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// A migration that was undone because somebody else had locked a table that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// The migrations that were run or undone before it.
    pub done: Vec<String>,
    /// The tables that others had locked then.
    pub(crate) tables: Vec<LockedTable>,
}

impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = LOCK_TIMEOUT.as_secs();
        write!(
            f,
            "a migration waited {seconds} s for a table that others have locked"
        )?;
        for LockedTable { table, holders } in &self.tables {
            write!(f, "; {table} by {holders}")?;
        }
        Ok(())
    }
}

/// A table that others hold locks on, and which of them.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub(crate) struct LockedTable {
    /// The table, with its schema where it needs one.
    #[diesel(sql_type = Text)]
    pub(crate) table: String,
    /// The process ids of the sessions, each with the mode of its lock.
    #[diesel(sql_type = Text)]
    pub(crate) holders: String,
}

/// The tables that a migration may need and others have locked, in the main app's schema
/// and in the worker's.
pub(crate) async fn of(mut conn: &Connection, app_schema: &str) -> Result<Vec<LockedTable>> {
    Ok(diesel::sql_query(
        "SELECT c.oid::regclass::text AS \"table\", \
            string_agg(DISTINCT coalesce(l.pid::text, 'a prepared transaction') \
                || ' (' || l.mode || ')', ', ') AS holders \
         FROM pg_locks l JOIN pg_class c ON c.oid = l.relation \
         JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid() \
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
            AND c.relkind IN ('r', 'p') AND (n.nspname = 'stripe' \
                OR n.nspname = $1 AND c.relname IN ('Invoice', 'HostOnboarding', 'Booking')) \
         GROUP BY c.oid ORDER BY 1",
    )
    .bind::<Text, _>(app_schema)
    .load(&mut conn)
    .await?)
}

#[derive(QueryableByName)]
struct Yes {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

/// Whether another session of this database has locked a table against reading, or waits for that
/// with everybody behind it.
pub(crate) async fn is_a_table_locked(mut conn: &Connection) -> Result<bool> {
    let query = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'relation' \
        AND mode = 'AccessExclusiveLock' AND pid IS DISTINCT FROM pg_backend_pid() \
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS yes";
    let row: Yes = diesel::sql_query(query).get_result(&mut conn).await?;
    Ok(row.yes)
}

/// Whether another session holds a lock of the worker's own tables with which it can have locked
/// rows, or keep rows from being written.
pub async fn are_rows_locked(mut conn: &Connection) -> Result<bool> {
    // To read, and to vacuum, is in nobody's way.
    let query = "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation \
        WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid() \
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
        AND c.relkind IN ('r', 'p') AND c.relnamespace = to_regnamespace('stripe') \
        AND l.mode NOT IN ('AccessShareLock', 'ShareUpdateExclusiveLock')) AS yes";
    let row: Yes = diesel::sql_query(query).get_result(&mut conn).await?;
    Ok(row.yes)
}
