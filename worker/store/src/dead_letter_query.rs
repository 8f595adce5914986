//! `stripe.dead_letter`: the record of what could not be applied.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, QueryDsl, Queryable, QueryableByName, Selectable, SelectableHelper,
    TextExpressionMethods,
    dsl::count_star,
    pg::Pg,
    sql_types::{Array, BigInt, Binary, Bool, Integer, Jsonb, Nullable, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use serde_json::Value;

use crate::{
    Connection, Result,
    dead_letter::State,
    paging::{Cursor, Order, is_like, page},
    schema::dead_letter,
};

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
    pub state: Option<State>,
    /// First died then or later.
    pub since: Option<DateTime<Utc>>,
    /// First died before then.
    pub until: Option<DateTime<Utc>>,
}

impl Summary {
    /// Where a page that ends with this row ends.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            at: self.first_at,
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
        query = query.filter(dead_letter::state.eq(state.as_str()));
    }
    if let Some(since) = filter.since {
        query = query.filter(dead_letter::first_at.ge(since));
    }
    if let Some(until) = filter.until {
        query = query.filter(dead_letter::first_at.lt(until));
    }
    query
}

/// One page.
pub async fn page(
    mut conn: &Connection,
    filter: &Filter,
    order: Order,
    after: Option<&Cursor>,
    limit: i64,
) -> Result<Vec<Summary>> {
    let query = matching(filter).limit(limit);
    let query = page!(query, dead_letter.first_at, order, after);
    Ok(query.select(Summary::as_select()).load(&mut conn).await?)
}

/// How many there are.
pub async fn count(mut conn: &Connection, filter: &Filter) -> Result<i64> {
    let count = matching(filter).select(count_star());
    Ok(count.first(&mut conn).await?)
}

/// Those of `ids`, whole, with their bytes, oldest first.
pub async fn load(mut conn: &Connection, ids: &[String]) -> Result<Vec<Letter>> {
    Ok(diesel::sql_query(
        "SELECT * FROM stripe.dead_letter WHERE id = ANY($1) ORDER BY first_at, id",
    )
    .bind::<Array<Text>, _>(ids)
    .load(&mut conn)
    .await?)
}

/// The states of those of `ids` that there are.
pub async fn known(mut conn: &Connection, ids: &[String]) -> Result<BTreeMap<String, String>> {
    let known: Vec<(String, String)> = dead_letter::table
        .filter(dead_letter::id.eq_any(ids))
        .select((dead_letter::id, dead_letter::state))
        .load(&mut conn)
        .await?;
    Ok(known.into_iter().collect())
}
