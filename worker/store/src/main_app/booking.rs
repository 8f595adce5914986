//! `"Booking"`, the main app's own: whether a booking is there, and whose it is.

use std::collections::BTreeSet;

use diesel::{
    OptionalExtension, QueryableByName,
    sql_types::{Bool, Integer, Nullable, Text},
};
use diesel_async::RunQueryDsl;
use domain::{
    ids::{AccountId, BookingId},
    ownership::Owner,
};
use futures_util::future::try_join_all;

use crate::{Connection, Result, statement::lookup};

/// How the deployment tells whether a booking is there and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Bookings<'a> {
    /// Whether the table is in this database; else every booking counts as there.
    pub are_here: bool,
    /// The deployment's query for a booking's account, where there is one.
    pub owner_query: Option<&'a str>,
}

#[derive(QueryableByName)]
struct Yes {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

/// Whether the table is in this database.
pub async fn are_here(mut conn: &Connection) -> Result<bool> {
    let row: Yes = diesel::sql_query(r#"SELECT to_regclass('"Booking"') IS NOT NULL AS yes"#)
        .get_result(&mut conn)
        .await?;
    Ok(row.yes)
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = Integer)]
    id: i32,
}

lookup! {
    Existing { i32 => Integer }
    "SELECT id FROM \"Booking\" WHERE id = ANY(" ")"
}

/// Which of the bookings are there.
pub(crate) async fn existing(
    mut conn: &Connection,
    bookings: Bookings<'_>,
    ids: &[i32],
) -> Result<BTreeSet<BookingId>> {
    if !bookings.are_here || ids.is_empty() {
        return Ok(ids.iter().copied().map(BookingId).collect());
    }
    let rows: Vec<Id> = Existing(ids).load(&mut conn).await?;
    Ok(rows.into_iter().map(|row| BookingId(row.id)).collect())
}

#[derive(QueryableByName)]
struct OwnerRow {
    #[diesel(sql_type = Nullable<Text>)]
    account: Option<String>,
}

/// Whose a booking is by the deployment's own query: its first column as text,
/// the booking's id as `$1`. A null is the platform; no row is not known yet.
pub async fn owner(mut conn: &Connection, query: &str, booking: i32) -> Result<Owner> {
    let wrapped = format!("SELECT o.account::text AS account FROM ({query}) AS o(account) LIMIT 1");
    let row: Option<OwnerRow> = diesel::sql_query(wrapped)
        .bind::<Integer, _>(booking)
        .get_result(&mut conn)
        .await
        .optional()?;
    Ok(match row {
        Some(row) => Owner::Account(row.account.map(AccountId::from).unwrap_or_default()),
        None => Owner::Unknown,
    })
}

/// Whose each of the bookings is by the deployment's query, where there is one.
pub(crate) async fn owners(
    conn: &Connection,
    bookings: Bookings<'_>,
    ids: &[i32],
) -> Result<Vec<(BookingId, Owner)>> {
    let Some(query) = bookings.owner_query else {
        return Ok(Vec::new());
    };
    let asked = ids
        .iter()
        .map(async |id| Ok((BookingId(*id), owner(conn, query, *id).await?)));
    try_join_all(asked).await
}
