//! `stripe.dead_letter`: the record of what could not be applied.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, QueryDsl, QueryResult, Queryable, QueryableByName,
    Selectable, SelectableHelper, TextExpressionMethods,
    dsl::count_star,
    pg::Pg,
    sql_types::{Array, BigInt, Binary, Bool, Integer, Jsonb, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;

use crate::{
    page::{Order, is_like},
    schema::dead_letter,
};

/// A dead letter waits for an operator.
pub const DEAD: &str = "dead";
/// It was sent again and is not judged yet.
pub const REPLAYED: &str = "replayed";
/// It was applied after all.
pub const RESOLVED: &str = "resolved";
/// An operator gave it up.
pub const DISCARDED: &str = "discarded";

/// A dead letter without its bytes.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = dead_letter)]
pub struct Summary {
    /// The event's id, or `sha256-...`.
    pub id: String,
    /// The event's type.
    pub event_type: Option<String>,
    /// The connected account.
    pub account: Option<String>,
    /// Why, as a code.
    pub reason: String,
    /// When it first died.
    pub first_at: DateTime<Utc>,
    /// When it last died.
    pub last_at: DateTime<Utc>,
    /// How often it died.
    pub attempts: i32,
    /// Its state.
    pub state: String,
}

/// A dead letter, whole.
#[derive(Clone, Debug, QueryableByName)]
#[allow(missing_docs, reason = "the columns' comments in the database say it")]
pub struct Letter {
    #[diesel(sql_type = Text)]
    pub id: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub event_id: Option<String>,
    #[diesel(column_name = "type", sql_type = Nullable<Text>)]
    pub event_type: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub account: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub api_version: Option<String>,
    #[diesel(sql_type = Nullable<Bool>)]
    pub livemode: Option<bool>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub created: Option<DateTime<Utc>>,
    #[diesel(sql_type = Text)]
    pub routing_key: String,
    #[diesel(sql_type = Binary)]
    pub body: Vec<u8>,
    #[diesel(sql_type = Jsonb)]
    pub properties: Value,
    #[diesel(sql_type = Text)]
    pub reason: String,
    #[diesel(sql_type = Text)]
    pub detail: String,
    #[diesel(sql_type = Text)]
    pub origin: String,
    #[diesel(sql_type = Timestamptz)]
    pub first_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub last_at: DateTime<Utc>,
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
    #[diesel(sql_type = Text)]
    pub state: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub replay_id: Option<i64>,
    #[diesel(sql_type = Timestamptz)]
    pub changed_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    pub changed_by: String,
}

/// What an operator asks for. Everything that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// One of these ids.
    pub ids: Vec<String>,
    /// This type, or with `.*` at the end all that begin so.
    pub event_type: Option<String>,
    /// This account.
    pub account: Option<String>,
    /// This reason.
    pub reason: Option<String>,
    /// This state.
    pub state: Option<&'static str>,
    /// First died then or later.
    pub since: Option<DateTime<Utc>>,
    /// First died before then.
    pub until: Option<DateTime<Utc>>,
}

/// Where a page ends: the next one begins behind it.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// When it first died.
    pub first_at: DateTime<Utc>,
    /// Its id.
    pub id: String,
}

impl Summary {
    /// Where a page that ends with this row ends.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            first_at: self.first_at,
            id: self.id.clone(),
        }
    }
}

type Query = dead_letter::BoxedQuery<'static, Pg>;

fn matching(filter: &Filter) -> Query {
    let mut query = dead_letter::table.into_boxed::<Pg>();
    if !filter.ids.is_empty() {
        query = query.filter(dead_letter::id.eq_any(filter.ids.clone()));
    }
    if let Some(event_type) = filter.event_type.clone() {
        query = match is_like(&event_type) {
            Some(pattern) => query.filter(dead_letter::event_type.like(pattern)),
            None => query.filter(dead_letter::event_type.eq(event_type)),
        };
    }
    if let Some(account) = filter.account.clone() {
        query = query.filter(dead_letter::account.eq(account));
    }
    if let Some(reason) = filter.reason.clone() {
        query = query.filter(dead_letter::reason.eq(reason));
    }
    if let Some(state) = filter.state {
        query = query.filter(dead_letter::state.eq(state));
    }
    if let Some(since) = filter.since {
        query = query.filter(dead_letter::first_at.ge(since));
    }
    if let Some(until) = filter.until {
        query = query.filter(dead_letter::first_at.lt(until));
    }
    query
}

/// The query of one page.
pub fn page_query(filter: &Filter, order: Order, after: Option<&Cursor>, limit: i64) -> Query {
    let mut query = matching(filter).limit(limit);
    query = match order {
        Order::NewestFirst => query.order((dead_letter::first_at.desc(), dead_letter::id.desc())),
        Order::OldestFirst => query.order((dead_letter::first_at, dead_letter::id)),
    };
    let Some(Cursor { first_at, id }) = after.cloned() else {
        return query;
    };
    // The first condition is for the index, the second for rows of one moment.
    match order {
        Order::NewestFirst => query.filter(dead_letter::first_at.le(first_at)).filter(
            dead_letter::first_at
                .lt(first_at)
                .or(dead_letter::id.lt(id)),
        ),
        Order::OldestFirst => query.filter(dead_letter::first_at.ge(first_at)).filter(
            dead_letter::first_at
                .gt(first_at)
                .or(dead_letter::id.gt(id)),
        ),
    }
}

/// One page.
///
/// # Errors
/// As Postgres says.
pub async fn page(
    mut conn: &AsyncPgConnection,
    filter: &Filter,
    order: Order,
    after: Option<&Cursor>,
    limit: i64,
) -> QueryResult<Vec<Summary>> {
    page_query(filter, order, after, limit)
        .select(Summary::as_select())
        .load(&mut conn)
        .await
}

/// How many there are.
///
/// # Errors
/// As Postgres says.
pub async fn count(mut conn: &AsyncPgConnection, filter: &Filter) -> QueryResult<i64> {
    matching(filter).select(count_star()).first(&mut conn).await
}

/// Those of `ids`, whole, with their bytes, oldest first.
///
/// # Errors
/// As Postgres says.
pub async fn load(mut conn: &AsyncPgConnection, ids: &[String]) -> QueryResult<Vec<Letter>> {
    diesel::sql_query("SELECT * FROM stripe.dead_letter WHERE id = ANY($1) ORDER BY first_at, id")
        .bind::<Array<Text>, _>(ids)
        .load(&mut conn)
        .await
}

/// Gives up those of `ids` that are dead. Gives back the ids of those that were.
///
/// # Errors
/// As Postgres says.
pub async fn discard(
    mut conn: &AsyncPgConnection,
    ids: &[String],
    by: &str,
) -> QueryResult<Vec<String>> {
    let dead = dead_letter::table
        .filter(dead_letter::id.eq_any(ids))
        .filter(dead_letter::state.eq(DEAD));
    diesel::update(dead)
        .set((
            dead_letter::state.eq(DISCARDED),
            dead_letter::changed_at.eq(diesel::dsl::now),
            dead_letter::changed_by.eq(by),
        ))
        .returning(dead_letter::id)
        .get_results(&mut conn)
        .await
}

/// The events of these dead letters were applied after all, each by the replay
/// beside it or by a delivery of Stripe.
///
/// # Errors
/// As Postgres says.
pub async fn resolve(
    mut conn: &AsyncPgConnection,
    settled: &[(&str, Option<i64>)],
) -> QueryResult<()> {
    if settled.is_empty() {
        return Ok(());
    }
    let (ids, replays): (Vec<_>, Vec<_>) = settled.iter().copied().unzip();
    diesel::sql_query(
        "UPDATE stripe.dead_letter d SET state = 'resolved', replay_id = s.replay_id, \
            changed_at = now(), changed_by = 'worker' \
         FROM unnest($1, $2) AS s (id, replay_id) \
         WHERE d.id = s.id AND d.state <> 'resolved'",
    )
    .bind::<Array<Text>, _>(ids)
    .bind::<Array<Nullable<BigInt>>, _>(replays)
    .execute(&mut conn)
    .await
    .map(drop)
}

/// Why and when dead letters died once more.
#[derive(Debug, Default)]
pub struct Deaths<'a> {
    /// Their ids.
    pub ids: Vec<&'a str>,
    /// Why, in a sentence each.
    pub details: Vec<String>,
    /// Why, as a code.
    pub reason: &'a str,
    /// What tells this death from another one.
    pub mark: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// The events of these dead letters, resolved or not, are dead once more by the
/// worker's verdict. Gives back the ids of those that there are.
///
/// # Errors
/// As Postgres says.
pub async fn reopen(mut conn: &AsyncPgConnection, deaths: &Deaths<'_>) -> QueryResult<Vec<String>> {
    let reopened: Vec<Id> = diesel::sql_query(
        "UPDATE stripe.dead_letter d SET state = 'dead', reason = $3, detail = s.detail, \
            origin = 'worker', mark = $4, last_at = $5, attempts = d.attempts + 1, \
            replay_id = NULL, changed_at = now(), changed_by = 'worker' \
         FROM unnest($1, $2) AS s (id, detail) WHERE d.id = s.id RETURNING d.id",
    )
    .bind::<Array<Text>, _>(&deaths.ids)
    .bind::<Array<Text>, _>(&deaths.details)
    .bind::<Text, _>(deaths.reason)
    .bind::<Text, _>(&deaths.mark)
    .bind::<Timestamptz, _>(deaths.at)
    .load(&mut conn)
    .await?;
    Ok(reopened.into_iter().map(|row| row.id).collect())
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = Text)]
    id: String,
}

/// The states of those of `ids` that there are.
///
/// # Errors
/// As Postgres says.
pub async fn known(
    mut conn: &AsyncPgConnection,
    ids: &[String],
) -> QueryResult<BTreeMap<String, String>> {
    let known: Vec<(String, String)> = dead_letter::table
        .filter(dead_letter::id.eq_any(ids))
        .select((dead_letter::id, dead_letter::state))
        .load(&mut conn)
        .await?;
    Ok(known.into_iter().collect())
}
