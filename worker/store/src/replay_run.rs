//! A replay while it runs: what it takes, what it has sent, and what it left
//! behind where it was killed.
//!
//! A run holds a lock of its session from its start to its end. Where the lock is
//! free, the run is over, and what it took but did not send is given back.

use std::collections::BTreeMap;

use diesel::{
    QueryResult, QueryableByName,
    sql_types::{Array, BigInt, Bool, Nullable, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// The locks of runs: this number and the run's own.
const LOCKS: i64 = 0x5354_5250_0000_0000;

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

#[derive(QueryableByName)]
struct Item {
    #[diesel(sql_type = Text)]
    item_id: String,
}

#[derive(QueryableByName)]
struct Had {
    #[diesel(sql_type = Bool)]
    had: bool,
}

/// Notes that a run begins. Gives back its number.
///
/// # Errors
/// As Postgres says.
pub async fn start(
    mut conn: &AsyncPgConnection,
    kind: &str,
    by: &str,
    selection: &str,
) -> QueryResult<i64> {
    let run: Id = diesel::sql_query(
        // Nobody else sees the row before its lock is held.
        "WITH run AS (INSERT INTO stripe.replay (kind, replayed_by, selection) \
            VALUES ($1, $2, $3) RETURNING id) \
         SELECT id FROM run WHERE pg_try_advisory_lock($4 + id)",
    )
    .bind::<Text, _>(kind)
    .bind::<Text, _>(by)
    .bind::<Text, _>(selection)
    .bind::<BigInt, _>(LOCKS)
    .get_result(&mut conn)
    .await?;
    Ok(run.id)
}

/// Takes the lock of a run; `false` if somebody has it.
async fn lock(mut conn: &AsyncPgConnection, run: i64) -> QueryResult<bool> {
    let lock: Had = diesel::sql_query("SELECT pg_try_advisory_lock($1) AS had")
        .bind::<BigInt, _>(LOCKS + run)
        .get_result(&mut conn)
        .await?;
    Ok(lock.had)
}

async fn unlock(mut conn: &AsyncPgConnection, run: i64) -> QueryResult<()> {
    diesel::sql_query("SELECT pg_advisory_unlock($1)")
        .bind::<BigInt, _>(LOCKS + run)
        .execute(&mut conn)
        .await
        .map(drop)
}

/// Takes those of `ids` that are still in this state for the run. Gives back
/// which.
///
/// # Errors
/// As Postgres says.
pub async fn claim(
    mut conn: &AsyncPgConnection,
    run: i64,
    by: &str,
    ids: &[String],
    state: &str,
) -> QueryResult<Vec<String>> {
    let claimed: Vec<Item> = diesel::sql_query(
        "UPDATE stripe.dead_letter SET state = 'replayed', replay_id = $1, changed_at = now(), \
            changed_by = $2 WHERE id = ANY($3) AND state = $4 RETURNING id AS item_id",
    )
    .bind::<BigInt, _>(run)
    .bind::<Text, _>(by)
    .bind::<Array<Text>, _>(ids)
    .bind::<Text, _>(state)
    .load(&mut conn)
    .await?;
    let claimed: Vec<String> = claimed.into_iter().map(|item| item.item_id).collect();
    diesel::sql_query(
        "UPDATE stripe.event SET outcome = 'replayed' WHERE id = ANY($1) AND outcome = 'dead'",
    )
    .bind::<Array<Text>, _>(&claimed)
    .execute(&mut conn)
    .await?;
    add_items(conn, run, &claimed).await?;
    Ok(claimed)
}

/// Adds items to a run.
///
/// # Errors
/// As Postgres says.
pub async fn add_items(mut conn: &AsyncPgConnection, run: i64, ids: &[String]) -> QueryResult<()> {
    diesel::sql_query(
        "INSERT INTO stripe.replay_item (replay_id, item_id) SELECT $1, unnest($2) \
         ON CONFLICT DO NOTHING",
    )
    .bind::<BigInt, _>(run)
    .bind::<Array<Text>, _>(ids)
    .execute(&mut conn)
    .await
    .map(drop)
}

/// Notes what the broker has confirmed.
///
/// # Errors
/// As Postgres says.
pub async fn published(mut conn: &AsyncPgConnection, run: i64, ids: &[String]) -> QueryResult<()> {
    diesel::sql_query(
        "WITH sent AS (UPDATE stripe.replay_item SET published_at = now() \
            WHERE replay_id = $1 AND item_id = ANY($2)) \
         UPDATE stripe.replay SET published = published + cardinality($2) WHERE id = $1",
    )
    .bind::<BigInt, _>(run)
    .bind::<Array<Text>, _>(ids)
    .execute(&mut conn)
    .await
    .map(drop)
}

/// Gives back what no queue takes.
///
/// # Errors
/// As Postgres says.
pub async fn unroutable(conn: &AsyncPgConnection, run: i64, ids: &[String]) -> QueryResult<()> {
    give_back(conn, run, Some(ids), "unroutable").await
}

/// Gives back what this run took and did not send.
///
/// # Errors
/// As Postgres says.
pub async fn abandon(conn: &AsyncPgConnection, run: i64) -> QueryResult<()> {
    give_back(conn, run, None, "abandoned").await
}

/// What was taken and not sent is dead again, unless its outcome is known: then
/// it was sent after all.
async fn give_back(
    mut conn: &AsyncPgConnection,
    run: i64,
    ids: Option<&[String]>,
    outcome: &str,
) -> QueryResult<()> {
    diesel::sql_query(
        "WITH items AS (UPDATE stripe.replay_item SET outcome = $3, judged_at = now() \
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
    .await
    .map(drop)
}

/// Notes that a run is over.
///
/// # Errors
/// As Postgres says.
pub async fn end(mut conn: &AsyncPgConnection, run: i64) -> QueryResult<()> {
    diesel::sql_query("UPDATE stripe.replay SET ended_at = now() WHERE id = $1")
        .bind::<BigInt, _>(run)
        .execute(&mut conn)
        .await?;
    unlock(conn, run).await
}

/// The runs that were killed: not ended, and nobody holds their lock.
///
/// # Errors
/// As Postgres says.
pub async fn killed(mut conn: &AsyncPgConnection) -> QueryResult<Vec<i64>> {
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

/// How many items of a run ended how; without an outcome, how many are open.
#[derive(Clone, Debug, QueryableByName)]
pub struct Tally {
    /// The outcome; `None` where it is not known yet.
    #[diesel(sql_type = Nullable<Text>)]
    pub outcome: Option<String>,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub items: i64,
}

/// What came of a run until now.
///
/// # Errors
/// As Postgres says.
pub async fn tally(
    mut conn: &AsyncPgConnection,
    run: i64,
) -> QueryResult<BTreeMap<Option<String>, i64>> {
    let tallies: Vec<Tally> = diesel::sql_query(
        "SELECT outcome, count(*) AS items FROM stripe.replay_item WHERE replay_id = $1 \
         GROUP BY outcome",
    )
    .bind::<BigInt, _>(run)
    .load(&mut conn)
    .await?;
    Ok(tallies
        .into_iter()
        .map(|tally| (tally.outcome, tally.items))
        .collect())
}

/// One item and what came of it.
#[derive(Clone, Debug, QueryableByName)]
pub struct Outcome {
    /// The id of the dead letter or of the event.
    #[diesel(sql_type = Text)]
    pub item_id: String,
    /// The outcome; `None` where it is not known yet.
    #[diesel(sql_type = Nullable<Text>)]
    pub outcome: Option<String>,
    /// Why, as a code.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
}

/// A page of a run's items after `after`.
///
/// # Errors
/// As Postgres says.
pub async fn outcomes(
    mut conn: &AsyncPgConnection,
    run: i64,
    after: &str,
    limit: i64,
) -> QueryResult<Vec<Outcome>> {
    diesel::sql_query(
        "SELECT item_id, outcome, reason FROM stripe.replay_item \
         WHERE replay_id = $1 AND item_id > $2 ORDER BY item_id LIMIT $3",
    )
    .bind::<BigInt, _>(run)
    .bind::<Text, _>(after)
    .bind::<BigInt, _>(limit)
    .load(&mut conn)
    .await
}
