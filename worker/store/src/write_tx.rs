//! Transactions, and the one lock that serialises writers.

use std::ops::Deref;

use diesel::{connection::TransactionDepthChange, result::Error as DieselError};
use diesel_async::{
    AsyncConnection, SimpleAsyncConnection, TransactionManager,
    pooled_connection::PoolableConnection,
};
use futures_util::try_join;

use crate::{Connection, Error, session::LOCK_TIMEOUT};

/// All writers of the schema `stripe` and of the main app's tables take this lock; the
/// end of the transaction frees it. So what a transaction has read stays true until it
/// commits: no invoice and its session can miss each other, no two claims on a booking
/// can both win, and no two writers can wait for each other. Reading and deciding are
/// cheap beside the commit, and a transaction carries many events; see
/// `docs/decisions/001-one-writer-at-a-time.md`.
const WRITERS: i64 = 0x5354_5249_5045_0002;

type Manager = <Connection as AsyncConnection>::TransactionManager;

/// A transaction that is open.
pub struct Transaction<'c>(&'c Connection);

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.0
    }
}

/// A transaction that holds the writers' lock. Every function that writes what events
/// decide takes one, so that the lock cannot be forgotten.
pub struct WriteTx<'c>(&'c Connection);

impl Deref for WriteTx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.0
    }
}

impl<'c> Transaction<'c> {
    /// Waits for the writers' lock. The wait is bounded by the session's
    /// `statement_timeout`, not by its shorter `lock_timeout`, which is for rows that
    /// others hold.
    ///
    /// Statements that are sent after this one see what the writers before committed,
    /// so they may be sent before it has answered.
    pub async fn lock_writers(&self) -> Result<WriteTx<'c>, Error> {
        // From left to right: no timeout for this lock, the lock, the session's timeout.
        let lock = format!(
            "SELECT set_config('lock_timeout', '0', true), pg_advisory_xact_lock({WRITERS}), \
             set_config('lock_timeout', '{LOCK_TIMEOUT}', true)"
        );
        let mut conn = self.0;
        conn.batch_execute(&lock).await?;
        Ok(WriteTx(self.0))
    }
}

/// Does `work` in one transaction: committed where it succeeds, undone where it fails.
///
/// What `work` sends first goes with the `BEGIN` in one round trip, so it takes the writers' lock
/// or reads, and does not write: should the server refuse the `BEGIN` alone, it is no part of a
/// transaction.
///
/// # Errors
/// As `work`, or the transaction could not be begun or committed.
pub async fn transaction<T, E: From<Error>>(
    conn: &mut Connection,
    work: impl AsyncFnOnce(&Transaction<'_>) -> Result<T, E>,
) -> Result<T, E> {
    // Before the server is told: a connection whose caller is dropped meanwhile is in an open
    // transaction then, and the pool closes it.
    Manager::transaction_manager_status_mut(conn)
        .transaction_state()
        .and_then(|state| state.change_transaction_depth(TransactionDepthChange::IncreaseDepth))
        .map_err(Error::from)?;
    let tx = Transaction(conn);
    let begin = async {
        let mut conn = tx.0;
        let begun = conn.batch_execute("BEGIN").await;
        begun.map_err(|error| E::from(Error::from(error)))
    };
    // In this order: `BEGIN` is sent, and its answer is looked at, before those of `work`.
    let done = try_join!(begin, work(&tx));
    match done.map(|((), done)| done) {
        Ok(done) => {
            // A serialisation failure makes Diesel undo the transaction instead of committing
            // it. Where `work` succeeds, it has been undone to a savepoint.
            Manager::transaction_manager_status_mut(conn)
                .set_requires_rollback_maybe_up_to_top_level(false);
            match Manager::commit_transaction(conn).await {
                Ok(()) => Ok(done),
                // Postgres says it as an error like any other where it ends the session.
                Err(lost) if conn.is_broken() => Err(Error::SessionLost(lost.into()).into()),
                Err(error) => Err(Error::from(error).into()),
            }
        }
        // Where it cannot be undone the connection has failed, and that is the reason: the
        // first error may be only what Postgres said last.
        Err(error) => match Manager::rollback_transaction(conn).await {
            Err(lost) if !matches!(lost, DieselError::BrokenTransactionManager) => {
                Err(Error::SessionLost(lost.into()).into())
            }
            Ok(()) | Err(_) => Err(error),
        },
    }
}

/// As [`transaction`], with the writers' lock.
///
/// # Errors
/// As [`transaction`], or the lock was not had in time.
pub async fn write<T, E: From<Error>>(
    conn: &mut Connection,
    work: impl AsyncFnOnce(&WriteTx<'_>) -> Result<T, E>,
) -> Result<T, E> {
    transaction(conn, async |tx| work(&tx.lock_writers().await?).await).await
}
