//! `stripe.event_body`: the bytes of applied events, compressed.

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, QueryDsl, QueryResult,
    sql_types::{Binary, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::{schema::event_body, statement::bulk};

bulk! {
    Keep {
        id: &'a str => Text,
        body: &'a [u8] => Binary,
    }
    "INSERT INTO stripe.event_body (event_id, body) SELECT * FROM"
    "ON CONFLICT (event_id) DO NOTHING"
}

/// Keeps compressed bytes, each beside its event's id.
///
/// # Errors
/// As Postgres says.
pub async fn keep(mut conn: &AsyncPgConnection, bodies: &[(&str, &[u8])]) -> QueryResult<()> {
    if bodies.is_empty() {
        return Ok(());
    }
    let mut keep = Keep::default();
    (keep.id, keep.body) = bodies.iter().copied().unzip();
    keep.execute(&mut conn).await.map(drop)
}

/// The compressed bytes of these events, where they are kept.
///
/// # Errors
/// As Postgres says.
pub async fn load(
    mut conn: &AsyncPgConnection,
    ids: &[String],
) -> QueryResult<Vec<(String, Vec<u8>)>> {
    event_body::table
        .filter(event_body::event_id.eq_any(ids))
        .select((event_body::event_id, event_body::body))
        .load(&mut conn)
        .await
}

/// When the bytes of an event were stored, where they are kept.
///
/// # Errors
/// As Postgres says.
pub async fn stored_at(
    mut conn: &AsyncPgConnection,
    id: &str,
) -> QueryResult<Option<DateTime<Utc>>> {
    let rows: Vec<DateTime<Utc>> = event_body::table
        .filter(event_body::event_id.eq(id))
        .select(event_body::stored_at)
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().next())
}
