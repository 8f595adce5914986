//! Statements about the main app's tables, in a savepoint of their own: what the main app
//! puts in their way undoes them alone, and holds up nobody for long.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::SimpleAsyncConnection;
use domain::main_app::{Obstacle, ObstacleReason};
use futures_util::try_join;

use crate::{
    Connection, Error, Result,
    session::{self, LOCK_TIMEOUT, STATEMENT_TIMEOUT},
};

/// How long statements may wait, as Postgres writes times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For one lock.
    lock: &'static str,
    /// For one statement, its triggers included.
    statement: &'static str,
}

/// Limits of reading or writing the rows of a batch at once.
pub(crate) const MANY_ROWS: Limits = Limits {
    lock: "50ms",
    statement: "1s",
};
/// Limits of writing one row of many.
pub(crate) const ONE_ROW: Limits = Limits {
    lock: "10ms",
    statement: "250ms",
};

/// Does `work` within the transaction that is open. What it did is undone where it fails,
/// and the transaction goes on.
///
/// # Errors
/// The database cannot be used.
pub(crate) async fn within<T>(
    mut conn: &Connection,
    limits: Limits,
    work: impl AsyncFnOnce() -> Result<T>,
) -> Result<std::result::Result<T, Obstacle>> {
    let done = match sent(conn, limits, work).await {
        Ok(done) => done,
        Err(error) => return undo(conn, error).await.map(Err),
    };
    // Constraints that the main app has deferred would refuse the commit, and with it
    // everything: they are checked here.
    let end = format!("SET CONSTRAINTS ALL IMMEDIATE; {}", release());
    match conn.batch_execute(&end).await {
        Ok(()) => Ok(Ok(done)),
        Err(error) => undo(conn, error.into()).await.map(Err),
    }
}

/// As [`within`], for what only reads. Where it succeeds the savepoint stays open, and [`leave`]
/// has to be sent before anything else: that saves a round trip.
///
/// # Errors
/// As [`within`].
pub(crate) async fn enter<T>(
    conn: &Connection,
    limits: Limits,
    read: impl AsyncFnOnce() -> Result<T>,
) -> Result<std::result::Result<T, Obstacle>> {
    match sent(conn, limits, read).await {
        Ok(read) => Ok(Ok(read)),
        Err(error) => undo(conn, error).await.map(Err),
    }
}

/// Leaves a savepoint that [`enter`] left open.
///
/// # Errors
/// The database cannot be used, or something that was read has written what is refused.
pub(crate) async fn leave(mut conn: &Connection) -> Result<()> {
    Ok(conn.batch_execute(&release()).await?)
}

/// Does `work` behind a savepoint, which stays open.
async fn sent<T>(
    mut conn: &Connection,
    limits: Limits,
    work: impl AsyncFnOnce() -> Result<T>,
) -> Result<T> {
    let Limits { lock, statement } = limits;
    let begin = format!(
        "SAVEPOINT main_app; SET LOCAL lock_timeout = '{lock}'; \
         SET LOCAL statement_timeout = '{statement}'"
    );
    let begin = async {
        conn.batch_execute(&begin).await?;
        Ok::<_, Error>(())
    };
    // In one round trip: the savepoint is sent first.
    let ((), done) = try_join!(begin, work())?;
    Ok(done)
}

/// Statements that end the savepoint. A trigger or a function of the main app's can have set what
/// the commit depends on.
fn release() -> String {
    format!(
        "RELEASE SAVEPOINT main_app; \
         SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; \
         SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'; {}",
        session::durable()
    )
}

/// Undoes what was done since the savepoint. Where that succeeds, the database can be used, and
/// the error is the main app's, whatever it says: a trigger can raise any error, also one by which
/// Postgres says that it takes no writes.
async fn undo(mut conn: &Connection, error: Error) -> Result<Obstacle> {
    let undo = "ROLLBACK TO SAVEPOINT main_app; RELEASE SAVEPOINT main_app";
    match conn.batch_execute(undo).await {
        Ok(()) => Ok(obstacle(&error)),
        // The first one says why.
        Err(_) if error.is_unavailable() => Err(error),
        // Postgres says it as an error like any other where it ends the session.
        Err(lost) => Err(Error::SessionLost(lost.into())),
    }
}

/// Why a commit failed, where what followed failed as well.
fn cause(error: &DieselError) -> &DieselError {
    match error {
        DieselError::RollbackErrorOnCommit { commit_error, .. } => commit_error,
        error => error,
    }
}

/// What an error says of the main app's tables, where the database can be used.
pub fn obstacle(error: &Error) -> Obstacle {
    let source = match error {
        Error::LeftOut | Error::Panicked => {
            return Obstacle::new(ObstacleReason::Refused, &error.to_string());
        }
        Error::Unavailable(source)
        | Error::SessionLost(source)
        | Error::Contended(source)
        | Error::Refused { source, .. } => source,
    };
    let said = source.downcast_ref::<DieselError>().map(cause);
    let Some(DieselError::DatabaseError(kind, said)) = said else {
        let reason = match error.is_session_lost() {
            true => ObstacleReason::SessionEnded,
            false => ObstacleReason::Refused,
        };
        return Obstacle::new(reason, &source.to_string());
    };
    let message = said.message();
    let reason = match kind {
        // A trigger can raise it too, and the session is not lost then.
        DatabaseErrorKind::ReadOnlyTransaction => ObstacleReason::Refused,
        _ if error.is_session_lost() => ObstacleReason::SessionEnded,
        DatabaseErrorKind::ForeignKeyViolation | DatabaseErrorKind::RestrictViolation => {
            ObstacleReason::ForeignKey
        }
        DatabaseErrorKind::CheckViolation => ObstacleReason::Check,
        DatabaseErrorKind::NotNullViolation => ObstacleReason::NotNull,
        DatabaseErrorKind::UniqueViolation | DatabaseErrorKind::ExclusionViolation => {
            ObstacleReason::Unique
        }
        // Diesel does not tell the SQLSTATE of the others. The sessions ask for messages in
        // English; where they may not, the text still says what it was.
        _ if message.contains("lock timeout") || message.contains("deadlock") => {
            ObstacleReason::Locked
        }
        _ if message.contains("row-level security") => ObstacleReason::RowLevelSecurity,
        _ if message.contains("permission denied") => ObstacleReason::Permission,
        _ => ObstacleReason::Refused,
    };
    // Not the detail: it can quote the row.
    let mut detail = message.to_owned();
    if let Some(constraint) = said.constraint_name() {
        detail.push_str(&format!(" (constraint {constraint}"));
        if let Some(table) = said.table_name() {
            detail.push_str(&format!(" of table {table}"));
        }
        detail.push(')');
    }
    let constraint = said.constraint_name().map(str::to_owned);
    Obstacle {
        constraint,
        ..Obstacle::new(reason, &detail)
    }
}
