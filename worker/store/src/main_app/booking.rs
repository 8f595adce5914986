//! `"Booking"`, the main app's own: whether a booking is there, and whose it is.

use std::collections::{BTreeMap, BTreeSet};

use diesel::{
    QueryableByName,
    sql_types::{Array, Bool, Integer, Nullable, Text},
};
use diesel_async::RunQueryDsl;
use domain::{
    ids::{AccountId, BookingId},
    ownership::Owner,
};

use crate::{Connection, Error, Result, lock_holders, session, statement::lookup};

/// How the deployment tells whether a booking is there and whose it is.
#[derive(Clone, Copy, Debug, Default)]
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

/// Which of the bookings are there: all of them, where the table is not in this database.
pub(crate) async fn existing(
    mut conn: &Connection,
    are_here: bool,
    ids: &[i32],
) -> Result<BTreeSet<BookingId>> {
    if !are_here || ids.is_empty() {
        return Ok(ids.iter().copied().map(BookingId).collect());
    }
    let rows: Vec<Id> = Existing(ids).load(&mut conn).await?;
    Ok(rows.into_iter().map(|row| BookingId(row.id)).collect())
}

#[derive(QueryableByName)]
struct OwnerRow {
    #[diesel(sql_type = Integer)]
    booking: i32,
    #[diesel(sql_type = Nullable<Text>)]
    account: Option<String>,
}

/// The deployment's query for all bookings at once. It gives the booking and its account
/// where it asks for `ANY($1)`; else it is a query for one booking, whose first column is
/// the account, and is asked for each of them within one statement.
pub(crate) fn batched(query: &str) -> String {
    let spaceless: String = query.split_whitespace().collect();
    if spaceless.to_ascii_lowercase().contains("any($1") {
        return format!(
            "SELECT o.booking::integer AS booking, o.account::text AS account \
             FROM ({query}) AS o(booking, account)"
        );
    }
    let one = query.replace("$1", "asked_booking.id");
    format!(
        "SELECT asked_booking.id AS booking, o.account::text AS account \
         FROM unnest($1) AS asked_booking(id) \
         CROSS JOIN LATERAL (SELECT * FROM ({one}) AS one LIMIT 1) AS o(account)"
    )
}

/// Whose each of the bookings is by the deployment's query, where there is one. A null is
/// the platform; a booking without a row is not known yet.
pub async fn owners(
    mut conn: &Connection,
    query: Option<&str>,
    ids: &[i32],
) -> Result<BTreeMap<BookingId, Owner>> {
    let Some(query) = query else {
        return Ok(BTreeMap::new());
    };
    let rows: Vec<OwnerRow> = diesel::sql_query(batched(query))
        .bind::<Array<Integer>, _>(ids)
        .load(&mut conn)
        .await?;
    let owner = |row: OwnerRow| {
        let account = row.account.map(AccountId::from).unwrap_or_default();
        (BookingId(row.booking), Owner::Account(account))
    };
    Ok(rows.into_iter().map(owner).collect())
}

/// Whether the database takes the deployment's query, asked for a booking that nobody has.
#[derive(Debug)]
pub enum Taken {
    /// It does.
    Yes,
    /// It said nothing of the query: somebody has locked a table, or the answer took too long.
    NotTried(Error),
    /// It does not.
    No(Error),
}

/// Tries the query once. A table that the main app has locked says nothing of it.
///
/// # Errors
/// The database cannot be used.
pub async fn try_query(conn: &Connection, query: &str) -> Result<Taken> {
    let error = match owners(conn, Some(query), &[0]).await {
        Ok(_) => return Ok(Taken::Yes),
        Err(error) if error.is_unavailable() => return Err(error),
        Err(error) => error,
    };
    let is_of_time = match session::is_english(conn).await? {
        true => error.is_of_time(),
        // Its words are not known: who holds locks tells it.
        false => error.is_of_time() || lock_holders::is_a_table_locked(conn).await?,
    };
    Ok(match is_of_time {
        true => Taken::NotTried(error),
        false => Taken::No(error),
    })
}
