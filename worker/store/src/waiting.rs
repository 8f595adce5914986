//! Invoices and sessions that wait for a row of the main app, and might have got it.

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Bool, Text},
};
use diesel_async::RunQueryDsl;
use domain::{ids::ObjectId, working_set::Recheck};

use crate::{Connection, Result};

#[derive(QueryableByName)]
struct Due {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Bool)]
    is_invoice: bool,
}

/// Up to `limit` of them after the id `after`: their booking is there now, or its owner may
/// be known. Gives back the last id as well; `None` at the end.
pub async fn due(
    mut conn: &Connection,
    has_bookings: bool,
    after: &str,
    limit: i64,
) -> Result<Option<(Recheck, String)>> {
    let is_there = if has_bookings {
        "AND EXISTS (SELECT FROM \"Booking\" b WHERE b.id = booking_id)"
    } else {
        ""
    };
    let query = format!(
        "(SELECT id, true AS is_invoice FROM stripe.invoice \
            WHERE waiting = 'booking_missing' AND id > $1 {is_there} ORDER BY id LIMIT $2) \
         UNION \
         (SELECT id, true FROM stripe.invoice WHERE owner_unknown AND id > $1 \
            ORDER BY id LIMIT $2) \
         UNION \
         (SELECT id, false FROM stripe.checkout_session WHERE owner_unknown AND id > $1 \
            ORDER BY id LIMIT $2) \
         ORDER BY id LIMIT $2"
    );
    let rows: Vec<Due> = diesel::sql_query(query)
        .bind::<Text, _>(after)
        .bind::<BigInt, _>(limit)
        .load(&mut conn)
        .await?;
    let Some(last) = rows.last().map(|row| row.id.clone()) else {
        return Ok(None);
    };
    let object = |row: Due| match row.is_invoice {
        true => ObjectId::Invoice(row.id.into()),
        false => ObjectId::CheckoutSession(row.id.into()),
    };
    let due = Recheck(rows.into_iter().map(object).collect());
    Ok(Some((due, last)))
}
