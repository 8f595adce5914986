//! Invoices and sessions that wait for a row of the main app, and might have got it.

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Bool, Integer, Nullable, Text},
};
use diesel_async::RunQueryDsl;
use domain::ids::{BookingId, ObjectId};

use crate::{Connection, Result};

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Bool)]
    is_invoice: bool,
    #[diesel(sql_type = Bool)]
    needs_owner: bool,
    #[diesel(sql_type = Nullable<Integer>)]
    booking: Option<i32>,
}

/// An invoice or a session that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The object.
    pub object: ObjectId,
    /// The booking whose owner it waits for; `None` where its booking is there now.
    pub owner_of: Option<BookingId>,
}

/// Up to `limit` of them after the id `after`: their booking is there now, or they wait for
/// its owner. Gives back the last id as well; `None` at the end.
pub async fn due(
    mut conn: &Connection,
    has_bookings: bool,
    after: &str,
    limit: i64,
) -> Result<Option<(Vec<Waiting>, String)>> {
    let is_there = if has_bookings {
        "AND EXISTS (SELECT FROM \"Booking\" b WHERE b.id = booking_id)"
    } else {
        ""
    };
    let query = format!(
        "(SELECT id, true AS is_invoice, false AS needs_owner, booking_id AS booking \
            FROM stripe.invoice \
            WHERE waiting = 'booking_missing' AND id > $1 {is_there} ORDER BY id LIMIT $2) \
         UNION ALL \
         (SELECT id, true, true, claimed_booking_id FROM stripe.invoice \
            WHERE owner_unknown AND id > $1 ORDER BY id LIMIT $2) \
         UNION ALL \
         (SELECT id, false, true, claimed_booking_id FROM stripe.checkout_session \
            WHERE owner_unknown AND id > $1 ORDER BY id LIMIT $2) \
         ORDER BY id LIMIT $2"
    );
    let rows: Vec<Row> = diesel::sql_query(query)
        .bind::<Text, _>(after)
        .bind::<BigInt, _>(limit)
        .load(&mut conn)
        .await?;
    let Some(last) = rows.last().map(|row| row.id.clone()) else {
        return Ok(None);
    };
    let waiting = rows.into_iter().map(|row| Waiting {
        owner_of: row.booking.filter(|_| row.needs_owner).map(BookingId),
        object: match row.is_invoice {
            true => ObjectId::Invoice(row.id.into()),
            false => ObjectId::CheckoutSession(row.id.into()),
        },
    });
    Ok(Some((waiting.collect(), last)))
}
