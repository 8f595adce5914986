//! What became of events: the ledger, read for people.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, Queryable, QueryableByName, Selectable,
    SelectableHelper, TextExpressionMethods,
    pg::Pg,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;

use crate::{
    Connection, Result,
    paging::{Cursor, Order, is_like, page},
    schema::event,
};

/// A row of the ledger.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = event)]
#[allow(missing_docs, reason = "the columns' comments in the database say it")]
pub struct Row {
    pub id: String,
    pub event_type: String,
    pub account: Option<String>,
    pub api_version: Option<String>,
    pub livemode: Option<bool>,
    pub created: DateTime<Utc>,
    pub object_id: Option<String>,
    pub outcome: String,
    pub reason: Option<String>,
    pub received_at: Option<DateTime<Utc>>,
    pub processed_at: DateTime<Utc>,
    pub attempts: i32,
    pub trace_id: Option<String>,
    pub source: String,
    pub first_seen_at: DateTime<Utc>,
}

/// What an operator asks for. Everything that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// One of these ids.
    pub ids: Vec<String>,
    /// This type, or with `*` at the end all that begin so.
    pub event_type: Option<String>,
    /// This account.
    pub account: Option<String>,
    /// About this invoice, session or account.
    pub object: Option<String>,
    /// One of these outcomes; none given is any.
    pub outcomes: Vec<String>,
    /// First decided then or later.
    pub since: Option<DateTime<Utc>>,
    /// First decided before then.
    pub until: Option<DateTime<Utc>>,
}

impl Row {
    /// Where a page that ends with this row ends.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            at: self.first_seen_at,
            id: self.id.clone(),
        }
    }
}

fn matching(filter: &Filter) -> event::BoxedQuery<'static, Pg> {
    let mut query = event::table.into_boxed::<Pg>();
    if !filter.ids.is_empty() {
        query = query.filter(event::id.eq_any(filter.ids.clone()));
    }
    if let Some(event_type) = filter.event_type.clone() {
        query = match is_like(&event_type) {
            Some(pattern) => query.filter(event::event_type.like(pattern)),
            None => query.filter(event::event_type.eq(event_type)),
        };
    }
    if let Some(account) = filter.account.clone() {
        query = query.filter(event::account.eq(account));
    }
    if let Some(object) = filter.object.clone() {
        query = query.filter(event::object_id.eq(object));
    }
    if !filter.outcomes.is_empty() {
        query = query.filter(event::outcome.eq_any(filter.outcomes.clone()));
    }
    if let Some(since) = filter.since {
        query = query.filter(event::first_seen_at.ge(since));
    }
    if let Some(until) = filter.until {
        query = query.filter(event::first_seen_at.lt(until));
    }
    query
}

/// The outcomes of those of `ids` that there are.
pub async fn outcomes(mut conn: &Connection, ids: &[String]) -> Result<BTreeMap<String, String>> {
    let known: Vec<(String, String)> = event::table
        .filter(event::id.eq_any(ids))
        .select((event::id, event::outcome))
        .load(&mut conn)
        .await?;
    Ok(known.into_iter().collect())
}

/// One page of the ledger.
pub async fn page(
    mut conn: &Connection,
    filter: &Filter,
    order: Order,
    after: Option<&Cursor>,
    limit: i64,
) -> Result<Vec<Row>> {
    let query = matching(filter).limit(limit);
    let query = page!(query, event.first_seen_at, order, after);
    Ok(query.select(Row::as_select()).load(&mut conn).await?)
}

/// The ledger's rows of these events.
pub async fn find_many(mut conn: &Connection, ids: &[String]) -> Result<Vec<Row>> {
    Ok(event::table
        .filter(event::id.eq_any(ids))
        .select(Row::as_select())
        .load(&mut conn)
        .await?)
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = Text)]
    id: String,
}

/// Events of these types that were ignored because their type was not handled, and whose
/// bytes are archived, oldest first. Those that were sent again within ten minutes are left
/// out: they are in the queue, or a worker that does not handle them has taken them again.
pub async fn newly_handled(
    mut conn: &Connection,
    types: &[&str],
    limit: i64,
) -> Result<Vec<String>> {
    let rows: Vec<Id> = diesel::sql_query(
        "SELECT e.id FROM stripe.event e \
         WHERE e.outcome = 'ignored' AND e.reason = 'unhandled_type' AND e.type = ANY($1) \
            AND EXISTS (SELECT FROM stripe.event_archive a WHERE a.id = e.archive_page_id) \
            AND NOT EXISTS (SELECT FROM stripe.replay_item i JOIN stripe.replay r ON r.id = i.replay_id \
                WHERE i.item_id = e.id AND r.started_at > now() - interval '10 minutes' \
                    AND (i.outcome IS NULL OR i.outcome NOT IN ('unroutable', 'abandoned'))) \
         ORDER BY e.first_seen_at LIMIT $2",
    )
    .bind::<Array<Text>, _>(types)
    .bind::<BigInt, _>(limit)
    .load(&mut conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// The ledger's row of one event.
pub async fn find(mut conn: &Connection, id: &str) -> Result<Option<Row>> {
    Ok(event::table
        .find(id)
        .select(Row::as_select())
        .first(&mut conn)
        .await
        .optional()?)
}

/// One replay of one event.
#[derive(Clone, Debug, QueryableByName)]
#[allow(missing_docs, reason = "the columns' comments in the database say it")]
pub struct Replayed {
    #[diesel(sql_type = BigInt)]
    pub replay_id: i64,
    #[diesel(sql_type = Text)]
    pub replayed_by: String,
    #[diesel(sql_type = Timestamptz)]
    pub started_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub published_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    pub outcome: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub decided_at: Option<DateTime<Utc>>,
}

/// All replays of one event or dead letter, oldest first; the last hundred.
pub async fn replays(mut conn: &Connection, id: &str) -> Result<Vec<Replayed>> {
    let mut replays: Vec<Replayed> = diesel::sql_query(
        "SELECT i.replay_id, r.replayed_by, r.started_at, i.published_at, i.outcome, i.reason, \
            i.decided_at \
         FROM stripe.replay_item i JOIN stripe.replay r ON r.id = i.replay_id \
         WHERE i.item_id = $1 ORDER BY i.replay_id DESC LIMIT 100",
    )
    .bind::<Text, _>(id)
    .load(&mut conn)
    .await?;
    replays.reverse();
    Ok(replays)
}

/// How many there are.
pub async fn count(mut conn: &Connection, filter: &Filter) -> Result<i64> {
    let count = matching(filter).select(diesel::dsl::count_star());
    Ok(count.first(&mut conn).await?)
}
