//! Invoices and sessions that wait for a row of the main app, and might have got it.
//!
//! A host can make as many of them as it likes. So a look reads a bounded number of them,
//! and goes on where the one before ended; those of the main app's newest bookings are
//! looked at each time.

use std::collections::BTreeSet;

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Bool, Integer, Nullable, Text},
};
use diesel_async::RunQueryDsl;
use domain::ids::{BookingId, ObjectId};
use futures_util::try_join;

use crate::{Connection, Result, main_app::booking};

/// How many of the main app's newest bookings are looked at each time: more than it makes
/// within a second.
const NEWEST: i64 = 200;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Bool)]
    is_invoice: bool,
    #[diesel(sql_type = Nullable<Integer>)]
    booking: Option<i32>,
}

impl Row {
    fn into_object(self) -> ObjectId {
        match self.is_invoice {
            true => ObjectId::Invoice(self.id.into()),
            false => ObjectId::CheckoutSession(self.id.into()),
        }
    }
}

/// An invoice or a session that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The object.
    pub object: ObjectId,
    /// The booking whose owner it waits for; `None` where its booking is there now.
    pub owner_of: Option<BookingId>,
}

/// Where a look ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The last booking for which an invoice waits.
    booking: i32,
    /// The last object that waits for an owner.
    object: String,
}

impl Cursor {
    /// Whether the next look begins with the first.
    pub fn is_at_start(&self) -> bool {
        *self == Self::default()
    }
}

/// Reads `limit` of each kind behind `after`, and with them all other invoices that wait for
/// the last booking. Returns those whose booking is there now and those that wait for its
/// owner, and where it ended; `None` at the end.
///
/// # Errors
/// The database cannot be used, or the main app has locked its bookings.
pub async fn due(
    conn: &Connection,
    has_bookings: bool,
    after: &Cursor,
    limit: i64,
) -> Result<Option<(Vec<Waiting>, Cursor)>> {
    let (missing, owners) = try_join!(
        bookings_missing(conn, after.booking, limit),
        owners_unknown(conn, &after.object, limit),
    )?;
    if missing.is_empty() && owners.is_empty() {
        return Ok(None);
    }
    let mut cursor = after.clone();
    if let Some(last) = missing.last().and_then(|row| row.booking) {
        cursor.booking = last;
    }
    if let Some(last) = owners.last() {
        cursor.object.clone_from(&last.id);
    }
    let mut waiting = there(conn, has_bookings, missing).await?;
    waiting.extend(owners.into_iter().map(|row| Waiting {
        owner_of: row.booking.map(BookingId),
        object: row.into_object(),
    }));
    Ok(Some((waiting, cursor)))
}

/// The invoices that wait for one of the main app's newest bookings.
///
/// # Errors
/// The database cannot be used, or the main app has locked its bookings.
pub async fn of_newest_bookings(mut conn: &Connection) -> Result<Vec<Waiting>> {
    #[derive(QueryableByName)]
    struct Id {
        #[diesel(sql_type = Integer)]
        id: i32,
    }
    let newest: Vec<Id> = diesel::sql_query("SELECT id FROM \"Booking\" ORDER BY id DESC LIMIT $1")
        .bind::<BigInt, _>(NEWEST)
        .load(&mut conn)
        .await?;
    let newest: Vec<i32> = newest.iter().map(|booking| booking.id).collect();
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT id, true AS is_invoice, booking_id AS booking FROM stripe.invoice \
         WHERE waiting = 'booking_missing' AND booking_id = ANY($1)",
    )
    .bind::<Array<Integer>, _>(newest)
    .load(&mut conn)
    .await?;
    Ok(rows.into_iter().map(has_booking).collect())
}

fn has_booking(row: Row) -> Waiting {
    Waiting {
        object: row.into_object(),
        owner_of: None,
    }
}

/// Invoices that wait for a booking, in the order of bookings.
async fn bookings_missing(mut conn: &Connection, after: i32, limit: i64) -> Result<Vec<Row>> {
    // All of one booking, so that the next look can go on behind it: they are few.
    Ok(diesel::sql_query(
        "SELECT id, true AS is_invoice, booking_id AS booking FROM stripe.invoice \
         WHERE waiting = 'booking_missing' AND booking_id > $1 \
         ORDER BY booking_id FETCH FIRST $2 ROWS WITH TIES",
    )
    .bind::<Integer, _>(after)
    .bind::<BigInt, _>(limit)
    .load(&mut conn)
    .await?)
}

/// Objects that wait for the owner of a booking, in the order of their ids.
async fn owners_unknown(mut conn: &Connection, after: &str, limit: i64) -> Result<Vec<Row>> {
    Ok(diesel::sql_query(
        "(SELECT id, true AS is_invoice, claimed_booking_id AS booking FROM stripe.invoice \
            WHERE owner_unknown AND id > $1 ORDER BY id LIMIT $2) \
         UNION ALL \
         (SELECT id, false, claimed_booking_id FROM stripe.checkout_session \
            WHERE owner_unknown AND id > $1 ORDER BY id LIMIT $2) \
         ORDER BY id LIMIT $2",
    )
    .bind::<Text, _>(after)
    .bind::<BigInt, _>(limit)
    .load(&mut conn)
    .await?)
}

/// Those whose booking is there now.
async fn there(conn: &Connection, has_bookings: bool, rows: Vec<Row>) -> Result<Vec<Waiting>> {
    let bookings: BTreeSet<i32> = rows.iter().filter_map(|row| row.booking).collect();
    let bookings: Vec<i32> = bookings.into_iter().collect();
    let there = booking::existing(conn, has_bookings, &bookings).await?;
    let is_there = |row: &Row| row.booking.is_some_and(|id| there.contains(&BookingId(id)));
    let rows = rows.into_iter().filter(is_there);
    Ok(rows.map(has_booking).collect())
}
