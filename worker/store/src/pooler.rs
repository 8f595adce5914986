//! Whether a connection keeps its session. The locks of jobs, replays and migrations, the
//! settings of a session and prepared statements need one. A pooler in transaction mode
//! gives each transaction of a connection to whichever session of the server is free.

use std::{fmt, time::Duration};

use diesel::ConnectionError;
use tokio_postgres::{
    Client, SimpleQueryMessage,
    config::{Config, Host},
};

use crate::{ConnectError, Database, error::chain};

/// Connections that hold a session each while the first one is looked at. A pooler gives the
/// first one's session to one of two of them, whether it takes the session that was free for
/// the shortest or for the longest time: so the first gets another.
const HOLDERS: usize = 2;
/// How long one look may take. A pooler that has no second session lets it wait.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// Why a database is not used by this address.
#[derive(Debug, thiserror::Error)]
pub enum PoolerError {
    /// It cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It does not keep sessions.
    #[error("{0}")]
    Pooled(Pooled),
}

/// What was seen of a pooler that does not keep sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pooled {
    seen: String,
    remedy: &'static str,
}

impl fmt::Display for Pooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seen, remedy } = self;
        write!(
            f,
            "DATABASE_URL leads to a pooler that does not keep a connection's session ({seen}), \
             and locks, settings and prepared statements need one; expected the server itself, \
             or a pooler in session mode: {remedy}"
        )
    }
}

/// What one look at a session saw.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    backend: String,
    setting: String,
}

/// Looks whether a connection keeps its session while others are in a transaction.
pub async fn check(database: &Database) -> Result<(), PoolerError> {
    // All of them first: a session that is opened later could be the one that is free.
    let first = database.plain_client().await?;
    let mut holders = Vec::new();
    for _ in 0..HOLDERS {
        holders.push(database.plain_client().await?);
    }
    let nonce = fastrand::u64(..);
    let set = format!(
        "SELECT pg_backend_pid() AS backend, set_config('dialoom.session', '{nonce}', false) AS setting"
    );
    let before = look(&first, &set).await?;
    for holder in &holders {
        if let Err(error) = holder.simple_query("BEGIN; SELECT 1").await {
            return Err(match error.as_db_error() {
                // Statement mode has no transactions.
                Some(error) => pooled(database, error.message().to_owned()),
                None => unreachable(&error).into(),
            });
        }
        let after = "SELECT pg_backend_pid() AS backend, \
            coalesce(current_setting('dialoom.session', true), '') AS setting";
        let after = look(&first, after).await?;
        if let Some(seen) = difference(&before, &after) {
            return Err(pooled(database, seen));
        }
    }
    Ok(())
}

fn difference(before: &Look, after: &Look) -> Option<String> {
    if before.backend != after.backend {
        return Some(format!(
            "one connection was served by the backends {} and {}",
            before.backend, after.backend
        ));
    }
    (before.setting != after.setting).then(|| "a setting was lost between transactions".to_owned())
}

async fn look(client: &Client, query: &str) -> Result<Look, ConnectError> {
    let answer = tokio::time::timeout(LOOK_WITHIN, client.simple_query(query)).await;
    let silent = |_| {
        let seconds = LOOK_WITHIN.as_secs();
        ConnectionError::BadConnection(format!(
            "no answer within {seconds} s while another connection was in a transaction"
        ))
    };
    let messages = answer
        .map_err(silent)?
        .map_err(|error| unreachable(&error))?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(Look {
            backend: row.get("backend").unwrap_or_default().to_owned(),
            setting: row.get("setting").unwrap_or_default().to_owned(),
        }),
        _ => None,
    });
    let nothing = || ConnectionError::BadConnection("a query got no row".into());
    Ok(row.ok_or_else(nothing)?)
}

fn unreachable(error: &tokio_postgres::Error) -> ConnectError {
    ConnectionError::BadConnection(chain(error)).into()
}

fn pooled(database: &Database, seen: String) -> PoolerError {
    let remedy = remedy(&database.config);
    PoolerError::Pooled(Pooled { seen, remedy })
}

/// The way out where the address is known.
fn remedy(config: &Config) -> &'static str {
    let is_neon = |host: &Host| matches!(host, Host::Tcp(name) if name.contains("-pooler."));
    if config.get_hosts().iter().any(is_neon) {
        "at Neon, the host without -pooler"
    } else if config.get_ports().contains(&6543) {
        "at Supabase, port 5432 in place of 6543"
    } else {
        "with PgBouncer, pool_mode = session"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(backend: &str, setting: &str) -> Look {
        Look {
            backend: backend.into(),
            setting: setting.into(),
        }
    }

    #[test]
    fn another_backend_or_a_lost_setting_is_a_difference() {
        let before = look("1", "x");
        assert_eq!(difference(&before, &look("1", "x")), None);
        let other = difference(&before, &look("2", "x")).unwrap();
        assert!(other.contains("backends 1 and 2"), "{other}");
        let lost = difference(&before, &look("1", "")).unwrap();
        assert!(lost.contains("lost"), "{lost}");
    }

    #[test]
    fn the_way_out_is_that_of_the_service() {
        for (url, said) in [
            (
                "postgres://u@ep-x-pooler.eu.aws.neon.tech/db",
                "without -pooler",
            ),
            ("postgres://u@pooler.supabase.com:6543/db", "port 5432"),
            ("postgres://u@db.example/db", "pool_mode = session"),
        ] {
            let database = Database::parse(url).unwrap();
            assert!(remedy(&database.config).contains(said), "{url}");
        }
    }
}
