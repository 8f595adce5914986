//! `stripe.replay` and `stripe.replay_item`: what operators sent again, and what
//! came of it.

use std::collections::BTreeSet;

use diesel::{
    QueryResult, QueryableByName,
    sql_types::{Array, BigInt, Nullable, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// What a replayed message carries: of which run and which item it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// The run.
    pub run: i64,
    /// The id of the dead letter or of the event.
    pub item: String,
}

/// What came of one item.
#[derive(Clone, Debug)]
pub struct Note<'a> {
    /// The item.
    pub ticket: &'a Ticket,
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

/// Those of the tickets that ask for an applied event to be judged again and were
/// not used yet. So an event is judged again once a run, however often the
/// message comes.
///
/// # Errors
/// As Postgres says.
pub async fn unused(
    mut conn: &AsyncPgConnection,
    tickets: &[&Ticket],
) -> QueryResult<BTreeSet<Ticket>> {
    if tickets.is_empty() {
        return Ok(BTreeSet::new());
    }
    let runs: Vec<i64> = tickets.iter().map(|ticket| ticket.run).collect();
    let items: Vec<&str> = tickets.iter().map(|ticket| ticket.item.as_str()).collect();
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
    let tickets = open.into_iter().map(|open| Ticket {
        run: open.replay_id,
        item: open.item_id,
    });
    Ok(tickets.collect())
}

/// Notes what came of items. The first outcome stays: a message that comes twice
/// tells nothing new.
///
/// # Errors
/// As Postgres says.
pub async fn note(mut conn: &AsyncPgConnection, notes: &[Note<'_>]) -> QueryResult<()> {
    if notes.is_empty() {
        return Ok(());
    }
    let runs: Vec<i64> = notes.iter().map(|note| note.ticket.run).collect();
    let items: Vec<&str> = notes.iter().map(|note| note.ticket.item.as_str()).collect();
    let outcomes: Vec<&str> = notes.iter().map(|note| note.outcome).collect();
    let reasons: Vec<Option<&str>> = notes.iter().map(|note| note.reason).collect();
    diesel::sql_query(
        "UPDATE stripe.replay_item i SET outcome = n.outcome, reason = n.reason, judged_at = now() \
         FROM unnest($1, $2, $3, $4) AS n (replay_id, item_id, outcome, reason) \
         WHERE i.replay_id = n.replay_id AND i.item_id = n.item_id \
            AND (i.outcome IS NULL OR i.outcome = 'abandoned')",
    )
    .bind::<Array<BigInt>, _>(runs)
    .bind::<Array<Text>, _>(items)
    .bind::<Array<Text>, _>(outcomes)
    .bind::<Array<Nullable<Text>>, _>(reasons)
    .execute(&mut conn)
    .await
    .map(drop)
}
