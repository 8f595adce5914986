//! What every session of the worker is set to, whatever the server, the database or the
//! role has as default; and whether it is so afterwards.

use diesel::{
    QueryableByName,
    result::Error as QueryError,
    sql_types::{Bool, Nullable, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use crate::{Connection, Result, row_security};

/// How long a statement waits for a lock, as Postgres writes times.
pub(crate) const LOCK_TIMEOUT: &str = "500ms";
/// How long a statement takes at most.
pub(crate) const STATEMENT_TIMEOUT: &str = "30s";

/// Settings and their values, as `current_setting` gives them.
///
/// - A snapshot of repeatable read is taken before the writers' lock is had, so that an
///   invoice and its session can miss each other.
/// - A statement that waits for another's row gives up before it holds back everything
///   else; a transaction whose client is gone gives its locks back.
/// - Names and texts that are quoted in a statement are quoted by these rules.
const SETTINGS: [(&str, &str); 6] = [
    ("default_transaction_isolation", "read committed"),
    ("TimeZone", "UTC"),
    ("lock_timeout", LOCK_TIMEOUT),
    ("statement_timeout", STATEMENT_TIMEOUT),
    ("idle_in_transaction_session_timeout", "10s"),
    ("standard_conforming_strings", "on"),
];

/// How long the server keeps the session of a worker that has gone without a word, as one does
/// whose machine lost its power: a minute, in place of the two hours of most systems. Its locks go
/// with it: that of a job, for instance. They are of the connection's socket; where that is a local
/// one, or the system has no such setting, it holds 0.
const KEEPALIVES: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "60000"),
];

/// An event that was acked has to survive a crash of the server. `off` acks before the
/// commit is on disk, `local` and `remote_write` before it is on the disk of a standby that
/// the server waits for. `remote_apply` waits for more than `on`.
const DURABLE: &str = "('on', 'remote_apply')";

/// Time-outs that only later releases of PostgreSQL know. The pool keeps connections idle,
/// and a transaction is bounded by its statements.
const NO_TIMEOUT: &str = "SELECT set_config(name, '0', false) FROM pg_settings \
    WHERE name IN ('idle_session_timeout', 'transaction_timeout')";

/// What Postgres says is kept for operators, and what is in the way of a row of the main
/// app's is told by its text. Only some roles may choose the language.
const ENGLISH: &str = "DO $$ BEGIN SET lc_messages = 'C'; \
    EXCEPTION WHEN insufficient_privilege THEN NULL; END $$";

/// What is wrong with a session.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// A statement failed: the server refuses a setting, or is gone.
    Failed(QueryError),
    /// A setting holds another value than the one that it was set to.
    Differs(String),
}

impl From<QueryError> for Unfit {
    fn from(error: QueryError) -> Self {
        Self::Failed(error)
    }
}

/// Sets the session, and looks in a transaction of its own whether it is so. Returns the
/// first schema of the search path, which is the main app's; `None` where none exists.
pub(crate) async fn prepare(
    connection: &mut AsyncPgConnection,
    schema: Option<&str>,
) -> std::result::Result<Option<String>, Unfit> {
    connection.batch_execute(&statements(schema)).await?;
    let found: Vec<Differing> = diesel::sql_query(differing(schema))
        .load(&mut &*connection)
        .await?;
    if !found.is_empty() {
        let found: Vec<String> = found.iter().map(Differing::sentence).collect();
        return Err(Unfit::Differs(found.join("; ")));
    }
    let query = "SELECT current_schema()::text AS name";
    let current: Current = diesel::sql_query(query)
        .get_result(&mut &*connection)
        .await?;
    Ok(current.name)
}

fn statements(schema: Option<&str>) -> String {
    let settings = SETTINGS.iter().chain(&KEEPALIVES);
    let mut statements: Vec<String> = settings
        .map(|(name, value)| format!("SET {name} = '{value}'"))
        .collect();
    if let Some(schema) = schema {
        statements.push(format!("SET search_path = \"{schema}\""));
    }
    statements.push(ENGLISH.to_owned());
    statements.push(NO_TIMEOUT.to_owned());
    statements.push(durable());
    // Last: it depends on the search path.
    statements.push(format!(
        "SELECT set_config('row_security', {}, false)",
        row_security::setting()
    ));
    statements.join("; ")
}

/// A statement after which a commit waits until it is on disk.
pub(crate) fn durable() -> String {
    format!(
        "SELECT set_config('synchronous_commit', 'on', false) \
         WHERE current_setting('synchronous_commit') NOT IN {DURABLE}"
    )
}

/// A query for the settings that are not as they were set.
fn differing(schema: Option<&str>) -> String {
    let mut expected: Vec<String> = SETTINGS
        .iter()
        .map(|(name, value)| format!("('{name}', '{value}')"))
        .collect();
    expected.push("('transaction_isolation', 'read committed')".to_owned());
    expected.push(format!("('row_security', {})", row_security::setting()));
    if let Some(schema) = schema {
        let schema = schema.replace('\'', "''");
        expected.push(format!("('search_path', quote_ident('{schema}'))"));
    }
    let keepalives = KEEPALIVES.map(|(name, value)| format!("('{name}', '{value}')"));
    format!(
        "SELECT name, current_setting(name) AS held, expected \
         FROM (VALUES {}) AS s (name, expected) WHERE current_setting(name) <> expected \
         UNION ALL \
         SELECT name, current_setting(name), expected \
         FROM (VALUES {}) AS s (name, expected) \
         WHERE current_setting(name) NOT IN (expected, '0') \
         UNION ALL \
         SELECT 'synchronous_commit', current_setting('synchronous_commit'), 'on' \
         WHERE current_setting('synchronous_commit') NOT IN {DURABLE} \
         UNION ALL \
         SELECT 'server_encoding', current_setting('server_encoding'), 'UTF8' \
         WHERE current_setting('server_encoding') <> 'UTF8'",
        expected.join(", "),
        keepalives.join(", ")
    )
}

#[derive(QueryableByName)]
struct Differing {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    held: String,
    #[diesel(sql_type = Text)]
    expected: String,
}

impl Differing {
    fn sentence(&self) -> String {
        let Self {
            name,
            held,
            expected,
        } = self;
        format!("{name} is {held:?} and has to be {expected:?}")
    }
}

#[derive(QueryableByName)]
struct Current {
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
}

#[derive(QueryableByName)]
struct Off {
    #[diesel(sql_type = Text)]
    name: String,
}

/// The server's settings that are `off` without which a crash can lose what was committed,
/// and which no session can change.
pub async fn unsafe_settings(mut conn: &Connection) -> Result<Vec<String>> {
    let query = "SELECT name FROM (VALUES ('fsync'), ('full_page_writes')) AS s (name) \
        WHERE current_setting(name) = 'off' ORDER BY name";
    let off: Vec<Off> = diesel::sql_query(query).load(&mut conn).await?;
    Ok(off.into_iter().map(|off| off.name).collect())
}

#[derive(QueryableByName)]
struct Held {
    #[diesel(sql_type = Text)]
    held: String,
}

/// What the session holds for a setting.
pub async fn setting(mut conn: &Connection, name: &str) -> Result<String> {
    let held: Held = diesel::sql_query("SELECT current_setting($1) AS held")
        .bind::<Text, _>(name)
        .get_result(&mut conn)
        .await?;
    Ok(held.held)
}

/// Whether the session's messages are in English, so that errors can be told by their text.
pub(crate) async fn is_english(conn: &Connection) -> Result<bool> {
    let held = setting(conn, "lc_messages").await?;
    Ok(held == "C" || held == "POSIX" || held.starts_with("en") || held.starts_with("C."))
}

#[derive(QueryableByName)]
struct Writable {
    #[diesel(sql_type = Bool)]
    is_writable: bool,
}

/// Whether the database takes writes: neither a standby nor one that was made
/// read-only does. `default_transaction_read_only` is the one default that the worker
/// leaves as it is: operators and hosting services make a database read-only by it.
pub async fn takes_writes(mut conn: &Connection) -> Result<bool> {
    let query = "SELECT current_setting('transaction_read_only') = 'off' AS is_writable";
    let row: Writable = diesel::sql_query(query).get_result(&mut conn).await?;
    Ok(row.is_writable)
}
