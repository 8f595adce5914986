//! `stripe.replay_item`: each event of a replay, and what came of it.

use std::collections::{BTreeMap, BTreeSet};

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Nullable, Text},
};
use diesel_async::RunQueryDsl;

use crate::{Connection, Result, WriteTx};

/// The key of an item, which a replayed message carries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplayItemKey {
    /// The run.
    pub run: i64,
    /// The id of the dead letter or of the event.
    pub item: String,
}

/// What came of one item.
#[derive(Clone, Debug)]
pub struct Note<'a> {
    /// The item.
    pub item: &'a ReplayItemKey,
    /// As the ledger, or `duplicate`.
    pub outcome: &'static str,
    /// Why, as a code.
    pub reason: Option<&'a str>,
}

#[derive(QueryableByName)]
struct Open {
    #[diesel(sql_type = BigInt)]
    replay_id: i64,
    #[diesel(sql_type = Text)]
    item_id: String,
}

/// Those of the items that want an applied event decided again and are not decided yet.
/// So an event is decided again once a run, however often the message comes.
pub async fn open(
    mut conn: &Connection,
    keys: &[&ReplayItemKey],
) -> Result<BTreeSet<ReplayItemKey>> {
    if keys.is_empty() {
        return Ok(BTreeSet::new());
    }
    let runs: Vec<i64> = keys.iter().map(|key| key.run).collect();
    let items: Vec<&str> = keys.iter().map(|key| key.item.as_str()).collect();
    let open: Vec<Open> = diesel::sql_query(
        "SELECT i.replay_id, i.item_id FROM unnest($1, $2) AS t (replay_id, item_id) \
         JOIN stripe.replay_item i USING (replay_id, item_id) \
         JOIN stripe.replay r ON r.id = i.replay_id AND r.kind = 'events' \
         WHERE i.outcome IS NULL OR i.outcome = 'abandoned'",
    )
    .bind::<Array<BigInt>, _>(runs)
    .bind::<Array<Text>, _>(items)
    .load(&mut conn)
    .await?;
    let keys = open.into_iter().map(|open| ReplayItemKey {
        run: open.replay_id,
        item: open.item_id,
    });
    Ok(keys.collect())
}

/// Notes what came of items. The first outcome stays: a message that comes twice
/// tells nothing new.
pub async fn note(tx: &WriteTx<'_>, notes: &[Note<'_>]) -> Result<()> {
    if notes.is_empty() {
        return Ok(());
    }
    let mut conn: &Connection = tx;
    let runs: Vec<i64> = notes.iter().map(|note| note.item.run).collect();
    let items: Vec<&str> = notes.iter().map(|note| note.item.item.as_str()).collect();
    let outcomes: Vec<&str> = notes.iter().map(|note| note.outcome).collect();
    let reasons: Vec<Option<&str>> = notes.iter().map(|note| note.reason).collect();
    diesel::sql_query(
        "UPDATE stripe.replay_item i SET outcome = n.outcome, reason = n.reason, decided_at = now() \
         FROM unnest($1, $2, $3, $4) AS n (replay_id, item_id, outcome, reason) \
         WHERE i.replay_id = n.replay_id AND i.item_id = n.item_id \
            AND (i.outcome IS NULL OR i.outcome = 'abandoned')",
    )
    .bind::<Array<BigInt>, _>(runs)
    .bind::<Array<Text>, _>(items)
    .bind::<Array<Text>, _>(outcomes)
    .bind::<Array<Nullable<Text>>, _>(reasons)
    .execute(&mut conn)
    .await?;
    Ok(())
}

/// Adds items to a run.
pub async fn add(mut conn: &Connection, run: i64, ids: &[String]) -> Result<()> {
    diesel::sql_query(
        "INSERT INTO stripe.replay_item (replay_id, item_id) SELECT $1, unnest($2) \
         ON CONFLICT DO NOTHING",
    )
    .bind::<BigInt, _>(run)
    .bind::<Array<Text>, _>(ids)
    .execute(&mut conn)
    .await?;
    Ok(())
}

/// Notes the items that the broker has confirmed.
pub async fn mark_published(mut conn: &Connection, run: i64, ids: &[String]) -> Result<()> {
    diesel::sql_query(
        "WITH sent AS (UPDATE stripe.replay_item SET published_at = now() \
            WHERE replay_id = $1 AND item_id = ANY($2)) \
         UPDATE stripe.replay SET published = published + cardinality($2) WHERE id = $1",
    )
    .bind::<BigInt, _>(run)
    .bind::<Array<Text>, _>(ids)
    .execute(&mut conn)
    .await?;
    Ok(())
}

/// How many items of a run ended how; without an outcome, how many are open.
#[derive(Clone, Debug, QueryableByName)]
struct Tally {
    /// The outcome; `None` where it is not known yet.
    #[diesel(sql_type = Nullable<Text>)]
    outcome: Option<String>,
    /// How many.
    #[diesel(sql_type = BigInt)]
    items: i64,
}

/// How many items of a run ended how, until now.
pub async fn tally(mut conn: &Connection, run: i64) -> Result<BTreeMap<Option<String>, i64>> {
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
pub struct ItemOutcome {
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
pub async fn outcomes(
    mut conn: &Connection,
    run: i64,
    after: &str,
    limit: i64,
) -> Result<Vec<ItemOutcome>> {
    Ok(diesel::sql_query(
        "SELECT item_id, outcome, reason FROM stripe.replay_item \
         WHERE replay_id = $1 AND item_id > $2 ORDER BY item_id LIMIT $3",
    )
    .bind::<BigInt, _>(run)
    .bind::<Text, _>(after)
    .bind::<BigInt, _>(limit)
    .load(&mut conn)
    .await?)
}
