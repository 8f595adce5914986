//! `stripe.outbox`: news for the main app, written in the transaction of what it tells of.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension, QueryableByName,
    sql_types::{Array, BigInt, Bool, Integer, Jsonb, Nullable, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use domain::{main_app::Target, news::News, text_enum};
use serde_json::Value;

use crate::{Connection, Result, WriteTx, statement::bulk};

/// Whether changes of the main app's rows are noted for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outbox {
    /// They are.
    On,
    /// They are not, and no statement is sent for them.
    #[default]
    Off,
}

impl Outbox {
    /// Whether they are noted.
    pub fn is_on(self) -> bool {
        self == Self::On
    }
}

impl From<bool> for Outbox {
    fn from(is_on: bool) -> Self {
        match is_on {
            true => Self::On,
            false => Self::Off,
        }
    }
}

/// What the worker that started last has set; `None` before a worker of this release started.
pub async fn setting(mut conn: &Connection) -> Result<Option<Outbox>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        is_on: bool,
    }
    let query = diesel::sql_query("SELECT is_on FROM stripe.changes_setting");
    let row: Option<Row> = query.get_result(&mut conn).await.optional()?;
    Ok(row.map(|row| row.is_on.into()))
}

/// Notes what the worker has set that starts now.
pub async fn set(mut conn: &Connection, outbox: Outbox) -> Result<()> {
    diesel::sql_query(
        "INSERT INTO stripe.changes_setting (is_on) VALUES ($1) \
         ON CONFLICT (is_only) DO UPDATE SET is_on = excluded.is_on, set_at = now()",
    )
    .bind::<Bool, _>(outbox.is_on())
    .execute(&mut conn)
    .await?;
    Ok(())
}

text_enum! {
    /// What became of a row.
    pub enum State {
        /// It is to be published.
        Waiting = "waiting",
        /// A queue has it.
        Published = "published",
        /// No queue was bound when it was published.
        Unheard = "unheard",
    }
}

bulk! {
    Add {
        position: i32 => Integer,
        kind: &'static str => Text,
        subject: &'static str => Text,
        key: String => Text,
        payload: &'a Value => Jsonb,
        later: i32 => Integer,
    }
    "WITH n AS (SELECT * FROM",
    "AS n (position, kind, subject, key, payload, later)), \
     v AS (INSERT INTO stripe.outbox_version AS o (subject, key, version) \
        SELECT subject, key, count(*) FROM n GROUP BY subject, key \
        ON CONFLICT (subject, key) DO UPDATE SET version = o.version + excluded.version \
        RETURNING subject, key, version) \
     INSERT INTO stripe.outbox (kind, key, row_version, payload) \
     SELECT n.kind, n.key, v.version - n.later, n.payload FROM n JOIN v USING (subject, key) \
     ORDER BY n.position"
}

/// Adds news of rows, in this order. The writers' lock is held until the commit, so whoever reads the
/// table sees ids in their order: none appears below one that was there before.
pub(crate) async fn add(tx: &WriteTx<'_>, news: &[(Target, &News)]) -> Result<()> {
    if news.is_empty() {
        return Ok(());
    }
    let mut add = Add::default();
    for (position, (target, one)) in news.iter().enumerate() {
        let behind = news.iter().skip(position + 1);
        // All news of one row stands together.
        let later = behind.take_while(|(other, _)| other == target);
        add.position.push(index(position));
        add.kind.push(one.kind.as_str());
        add.subject.push(target.kind());
        add.key.push(target.id());
        add.payload.push(&one.facts);
        add.later.push(index(later.count()));
    }
    let mut conn: &Connection = tx;
    add.execute(&mut conn).await?;
    Ok(())
}

fn index(position: usize) -> i32 {
    i32::try_from(position).unwrap_or(i32::MAX)
}

/// A row.
#[derive(Clone, Debug, QueryableByName)]
pub struct Row {
    /// Its id.
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// What happened.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The booking's id or the host's account.
    #[diesel(sql_type = Text)]
    pub key: String,
    /// The number of the change among those of the same booking or host.
    #[diesel(sql_type = BigInt)]
    pub row_version: i64,
    /// What the message says.
    #[diesel(sql_type = Jsonb)]
    pub payload: Value,
    /// When it happened.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// What became of it.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// When it was last published.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub published_at: Option<DateTime<Utc>>,
}

const COLUMNS: &str = "id, kind, key, row_version, payload, created_at, state, published_at";

/// The first rows that wait, by id.
pub async fn waiting(mut conn: &Connection, limit: i64) -> Result<Vec<Row>> {
    let query =
        format!("SELECT {COLUMNS} FROM stripe.outbox WHERE state = 'waiting' ORDER BY id LIMIT $1");
    let query = diesel::sql_query(query).bind::<BigInt, _>(limit);
    Ok(query.load(&mut conn).await?)
}

/// Notes what became of rows that waited.
pub async fn mark(mut conn: &Connection, marks: &[(i64, State)]) -> Result<()> {
    if marks.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = marks.iter().map(|(id, _)| *id).collect();
    let states: Vec<&str> = marks.iter().map(|(_, state)| state.as_str()).collect();
    diesel::sql_query(
        "UPDATE stripe.outbox AS o SET state = n.state, published_at = now() \
         FROM unnest($1, $2) AS n (id, state) WHERE o.id = n.id AND o.state = 'waiting'",
    )
    .bind::<Array<BigInt>, _>(ids)
    .bind::<Array<Text>, _>(states)
    .execute(&mut conn)
    .await?;
    Ok(())
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Removes up to `limit` of the rows that are more than `most`: the oldest that do not wait,
/// and where there are none of them the oldest of all. Returns how many.
pub async fn trim(mut conn: &Connection, most: i64, limit: i64) -> Result<usize> {
    // The span of the ids costs two look-ups, and is no smaller than the number of rows.
    let span: Count = diesel::sql_query(
        "SELECT coalesce(max(id) - min(id) + 1, 0)::bigint AS count FROM stripe.outbox",
    )
    .get_result(&mut conn)
    .await?;
    if span.count <= most {
        return Ok(0);
    }
    let rows: Count = diesel::sql_query("SELECT count(*) AS count FROM stripe.outbox")
        .get_result(&mut conn)
        .await?;
    let excess = (rows.count - most).min(limit);
    if excess <= 0 {
        return Ok(0);
    }
    Ok(diesel::sql_query(
        "DELETE FROM stripe.outbox WHERE id = ANY(ARRAY( \
            SELECT id FROM stripe.outbox ORDER BY state = 'waiting', id LIMIT $1))",
    )
    .bind::<BigInt, _>(excess)
    .execute(&mut conn)
    .await?)
}

/// What is kept from some time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct Kept {
    /// The smallest id; 0 where nothing is kept.
    #[diesel(sql_type = BigInt)]
    pub first: i64,
    /// The greatest id, likewise.
    #[diesel(sql_type = BigInt)]
    pub last: i64,
    /// How many rows there are from the first on.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
}

/// The rows from the first one on that is not older than `since`. `created_at` is when a
/// transaction began, so a later row can say an earlier time: it belongs to them all the same.
pub async fn kept_since(mut conn: &Connection, since: DateTime<Utc>) -> Result<Kept> {
    Ok(diesel::sql_query(
        "SELECT coalesce(min(id), 0)::bigint AS first, coalesce(max(id), 0)::bigint AS last, \
            count(*) AS count FROM stripe.outbox WHERE id >= \
            (SELECT min(id) FROM stripe.outbox WHERE created_at >= $1)",
    )
    .bind::<Timestamptz, _>(since)
    .get_result(&mut conn)
    .await?)
}

/// Has the rows with ids from `from` to `to` published again. Returns how many that changed.
pub async fn publish_again(mut conn: &Connection, from: i64, to: i64) -> Result<usize> {
    Ok(diesel::sql_query(
        "UPDATE stripe.outbox SET state = 'waiting', published_at = NULL \
         WHERE id BETWEEN $1 AND $2 AND state <> 'waiting'",
    )
    .bind::<BigInt, _>(from)
    .bind::<BigInt, _>(to)
    .execute(&mut conn)
    .await?)
}

/// Which rows are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only of this booking or account.
    pub key: Option<String>,
    /// Only in this state.
    pub state: Option<State>,
}

/// A page of rows before the id `before`, the newest first.
pub async fn page(
    mut conn: &Connection,
    only: &Filter,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Row>> {
    let query = format!(
        "SELECT {COLUMNS} FROM stripe.outbox WHERE id < $1 AND ($2 IS NULL OR kind = $2) \
         AND ($3 IS NULL OR key = $3) AND ($4 IS NULL OR state = $4) ORDER BY id DESC LIMIT $5"
    );
    Ok(diesel::sql_query(query)
        .bind::<BigInt, _>(before.unwrap_or(i64::MAX))
        .bind::<Nullable<Text>, _>(only.kind.as_deref())
        .bind::<Nullable<Text>, _>(only.key.as_deref())
        .bind::<Nullable<Text>, _>(only.state.map(State::as_str))
        .bind::<BigInt, _>(limit)
        .load(&mut conn)
        .await?)
}
