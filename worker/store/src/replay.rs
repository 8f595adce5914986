//! `stripe.replay` while a run goes on: the items that it takes, those that it has sent,
//! and those that it left behind where it was killed.
//!
//! A run holds a lock of its database session from its start to its end. Where the lock
//! is free, the run is over, and the items that it took but did not send are given back.

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Bool, Nullable, Text},
};
use diesel_async::RunQueryDsl;
use domain::text_enum;

use crate::{Connection, Result, WriteTx};

/// The locks of runs: this number and the run's own.
const LOCKS: i64 = 0x5354_5250_0000_0000;

text_enum! {
    /// What a replay sends again.
    pub enum Kind {
        /// Events that could not be applied.
        DeadLetters = "dead_letters",
        /// Events that had their effect, to be decided again.
        Events = "events",
    }
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

#[derive(QueryableByName)]
struct Had {
    #[diesel(sql_type = Bool)]
    had: bool,
}

/// Notes that a run begins. Gives back its number.
pub async fn start(mut conn: &Connection, kind: Kind, by: &str, selection: &str) -> Result<i64> {
    let run: Id = diesel::sql_query(
        // Nobody else sees the row before its lock is held.
        "WITH run AS (INSERT INTO stripe.replay (kind, replayed_by, selection) \
            VALUES ($1, $2, $3) RETURNING id) \
         SELECT id FROM run WHERE pg_try_advisory_lock($4 + id)",
    )
    .bind::<Text, _>(kind.as_str())
    .bind::<Text, _>(by)
    .bind::<Text, _>(selection)
    .bind::<BigInt, _>(LOCKS)
    .get_result(&mut conn)
    .await?;
    Ok(run.id)
}

/// Takes the lock of a run; `false` if somebody has it.
async fn lock(mut conn: &Connection, run: i64) -> Result<bool> {
    let lock: Had = diesel::sql_query("SELECT pg_try_advisory_lock($1) AS had")
        .bind::<BigInt, _>(LOCKS + run)
        .get_result(&mut conn)
        .await?;
    Ok(lock.had)
}

async fn unlock(mut conn: &Connection, run: i64) -> Result<()> {
    diesel::sql_query("SELECT pg_advisory_unlock($1)")
        .bind::<BigInt, _>(LOCKS + run)
        .execute(&mut conn)
        .await?;
    Ok(())
}

/// Gives back what no queue takes.
pub async fn unroutable(tx: &WriteTx<'_>, run: i64, ids: &[String]) -> Result<()> {
    give_back(tx, run, Some(ids), "unroutable").await
}

/// Gives back what this run took and did not send.
pub async fn abandon(tx: &WriteTx<'_>, run: i64) -> Result<()> {
    give_back(tx, run, None, "abandoned").await
}

/// What was taken and not sent is dead again, unless its outcome is known: then
/// it was sent after all.
async fn give_back(
    tx: &WriteTx<'_>,
    run: i64,
    ids: Option<&[String]>,
    outcome: &str,
) -> Result<()> {
    let mut conn: &Connection = tx;
    diesel::sql_query(
        "WITH items AS (UPDATE stripe.replay_item SET outcome = $3, decided_at = now() \
                WHERE replay_id = $1 AND published_at IS NULL AND outcome IS NULL \
                    AND ($2 IS NULL OR item_id = ANY($2)) RETURNING item_id), \
            letters AS (UPDATE stripe.dead_letter d SET state = 'dead', changed_at = now() \
                FROM items WHERE d.id = items.item_id AND d.replay_id = $1 \
                    AND d.state = 'replayed' RETURNING d.id) \
         UPDATE stripe.event e SET outcome = 'dead' FROM letters \
         WHERE e.id = letters.id AND e.outcome = 'replayed'",
    )
    .bind::<BigInt, _>(run)
    .bind::<Nullable<Array<Text>>, _>(ids)
    .bind::<Text, _>(outcome)
    .execute(&mut conn)
    .await?;
    Ok(())
}

/// Notes that a run is over.
pub async fn end(mut conn: &Connection, run: i64) -> Result<()> {
    diesel::sql_query("UPDATE stripe.replay SET ended_at = now() WHERE id = $1")
        .bind::<BigInt, _>(run)
        .execute(&mut conn)
        .await?;
    unlock(conn, run).await
}

/// The runs that were killed: not ended, and nobody holds their lock.
pub async fn killed(mut conn: &Connection) -> Result<Vec<i64>> {
    let open: Vec<Id> =
        diesel::sql_query("SELECT id FROM stripe.replay WHERE ended_at IS NULL ORDER BY id")
            .load(&mut conn)
            .await?;
    let mut killed = Vec::new();
    for run in open {
        if lock(conn, run.id).await? {
            killed.push(run.id);
        }
    }
    Ok(killed)
}
