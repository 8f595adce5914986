//! `stripe.kept_page`: the bytes of applied events.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, NullableExpressionMethods, OptionalExtension, QueryDsl, QueryResult,
    dsl::exists,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::archive_page::Page;
use crate::schema::{event, kept_page};

/// Stores a page.
///
/// # Errors
/// As Postgres says.
pub async fn store(mut conn: &AsyncPgConnection, id: i64, page: &Page) -> QueryResult<()> {
    diesel::insert_into(kept_page::table)
        .values((
            kept_page::id.eq(id),
            kept_page::event_ids.eq(&page.event_ids),
            kept_page::ends.eq(&page.ends),
            kept_page::bytes.eq(&page.bytes),
        ))
        .execute(&mut conn)
        .await
        .map(drop)
}

/// On which pages these events are, where their bytes are kept.
///
/// # Errors
/// As Postgres says.
pub async fn pages_of(
    mut conn: &AsyncPgConnection,
    ids: &[String],
) -> QueryResult<BTreeMap<i64, Vec<String>>> {
    let there = exists(kept_page::table.filter(event::kept_in.eq(kept_page::id.nullable())));
    let rows: Vec<(Option<i64>, String)> = event::table
        .filter(event::id.eq_any(ids))
        .filter(there)
        .select((event::kept_in, event::id))
        .load(&mut conn)
        .await?;
    let mut pages: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for (page, id) in rows {
        if let Some(page) = page {
            pages.entry(page).or_default().push(id);
        }
    }
    Ok(pages)
}

/// One page, unless it was removed meanwhile.
///
/// # Errors
/// As Postgres says.
pub async fn load(mut conn: &AsyncPgConnection, id: i64) -> QueryResult<Option<Page>> {
    let row: Option<(Vec<String>, Vec<i32>, Vec<u8>)> = kept_page::table
        .find(id)
        .select((kept_page::event_ids, kept_page::ends, kept_page::bytes))
        .first(&mut conn)
        .await
        .optional()?;
    Ok(row.map(|(event_ids, ends, bytes)| Page {
        event_ids,
        ends,
        bytes,
    }))
}

/// The bytes of these events, where they are kept. Pages are taken apart one by
/// one: each can hold hundreds of others.
///
/// # Errors
/// As Postgres says.
pub async fn bodies(
    conn: &AsyncPgConnection,
    ids: &[String],
) -> QueryResult<BTreeMap<String, Vec<u8>>> {
    let mut bodies = BTreeMap::new();
    for (page, wanted) in pages_of(conn, ids).await? {
        let Some(page) = load(conn, page).await? else {
            continue;
        };
        let Ok(events) = page.events() else {
            continue;
        };
        let events = events.into_iter().map(|(id, body)| (id.to_owned(), body));
        bodies.extend(events.filter(|(id, _)| wanted.contains(id)));
    }
    Ok(bodies)
}

/// When the bytes of an event were stored, where they are kept.
///
/// # Errors
/// As Postgres says.
pub async fn stored_at(
    mut conn: &AsyncPgConnection,
    id: &str,
) -> QueryResult<Option<DateTime<Utc>>> {
    let page = event::table.filter(event::id.eq(id)).select(event::kept_in);
    kept_page::table
        .filter(kept_page::id.nullable().eq_any(page))
        .select(kept_page::stored_at)
        .first(&mut conn)
        .await
        .optional()
}
