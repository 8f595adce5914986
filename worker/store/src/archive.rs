//! `stripe.event_archive`: the bytes of events that were applied, or whose type was not handled, many
//! to a page.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, NullableExpressionMethods, OptionalExtension, QueryDsl, dsl::exists,
};
use diesel_async::RunQueryDsl;

use crate::archive_page::ArchivePage;
use crate::{
    Connection, Result, WriteTx,
    schema::{event, event_archive},
};

/// Stores a page.
pub async fn insert(tx: &WriteTx<'_>, id: i64, page: &ArchivePage) -> Result<()> {
    let mut conn: &Connection = tx;
    diesel::insert_into(event_archive::table)
        .values((
            event_archive::id.eq(id),
            event_archive::event_ids.eq(&page.event_ids),
            event_archive::ends.eq(&page.ends),
            event_archive::bytes.eq(&page.bytes),
        ))
        .execute(&mut conn)
        .await?;
    Ok(())
}

/// On which pages these events are, where their bytes are archived.
pub async fn pages_of(mut conn: &Connection, ids: &[String]) -> Result<BTreeMap<i64, Vec<String>>> {
    let there = exists(
        event_archive::table.filter(event::archive_page_id.eq(event_archive::id.nullable())),
    );
    let rows: Vec<(Option<i64>, String)> = event::table
        .filter(event::id.eq_any(ids))
        .filter(there)
        .select((event::archive_page_id, event::id))
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
pub async fn load(mut conn: &Connection, id: i64) -> Result<Option<ArchivePage>> {
    let row: Option<(Vec<String>, Vec<i32>, Vec<u8>)> = event_archive::table
        .find(id)
        .select((
            event_archive::event_ids,
            event_archive::ends,
            event_archive::bytes,
        ))
        .first(&mut conn)
        .await
        .optional()?;
    Ok(row.map(|(event_ids, ends, bytes)| ArchivePage {
        event_ids,
        ends,
        bytes,
    }))
}

/// The bytes of these events, where they are archived. Pages are taken apart one by
/// one: each can hold hundreds of others.
pub async fn bodies(conn: &Connection, ids: &[String]) -> Result<BTreeMap<String, Vec<u8>>> {
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
pub async fn stored_at(mut conn: &Connection, id: &str) -> Result<Option<DateTime<Utc>>> {
    let page = event::table
        .filter(event::id.eq(id))
        .select(event::archive_page_id);
    Ok(event_archive::table
        .filter(event_archive::id.nullable().eq_any(page))
        .select(event_archive::stored_at)
        .first(&mut conn)
        .await
        .optional()?)
}
