//! The one place where writers meet.

use diesel::QueryResult;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};

/// Writers take turns, by this lock, which an end of the transaction gives
/// back. So what a transaction has read stays true until it commits: no
/// invoice and its session can miss each other, no two claims on a booking can
/// both win, and no two writers can wait for each other. Reading and deciding
/// are cheap beside the commit, and a transaction carries many events, so turns
/// cost little; see `docs/decisions.md`.
const WRITERS: i64 = 0x5354_5249_5045_0002;

/// Waits for this writer's turn. The wait is bounded by the session's
/// `statement_timeout`, not by its shorter `lock_timeout`, which is for rows
/// that others hold.
///
/// # Errors
/// As Postgres says.
pub async fn take_turn(mut conn: &AsyncPgConnection) -> QueryResult<()> {
    // From left to right: no timeout for this lock, the lock, the session's timeout.
    conn.batch_execute(&format!(
        "SELECT set_config('lock_timeout', '0', true), pg_advisory_xact_lock({WRITERS}), \
         set_config('lock_timeout', '500ms', true)"
    ))
    .await
}
