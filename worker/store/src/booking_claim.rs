//! `stripe.booking_claim`: which account says that an object is of a booking, each by its
//! first event.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::sql_types::{Integer, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use domain::{
    changes::ChangedClaim,
    decode::moment,
    ids::{BookingId, ObjectId},
    ownership::{Claimant, Claims, FirstClaim},
};

use crate::{
    Connection, Result, WriteTx,
    statement::{Select, Upsert, filter, record},
};

record! {
    /// A row of `stripe.booking_claim`.
    #[derive(diesel::Queryable)]
    struct Row in "stripe.booking_claim" {
        key {
            booking: i32 => Integer = "booking_id",
            account: String => Text = "account",
            object_kind: String => Text = "object_kind",
            object: String => Text = "object_id",
        }
        event_created: DateTime<Utc> => Timestamptz = "event_created",
        event_id: String => Text = "event_id",
    }
    on update ""
}

const INVOICE: &str = "invoice";
const CHECKOUT_SESSION: &str = "session";

impl Row {
    fn new(changed: &ChangedClaim<'_>) -> Self {
        let (claimant, first) = (changed.claimant, changed.first);
        let object_kind = match claimant.object {
            ObjectId::Invoice(_) => INVOICE,
            ObjectId::CheckoutSession(_) => CHECKOUT_SESSION,
        };
        Self {
            booking: changed.booking.0,
            account: claimant.account.to_string(),
            object_kind: object_kind.to_owned(),
            object: claimant.object.as_str().to_owned(),
            event_created: moment(first.created),
            event_id: first.event_id.clone(),
        }
    }

    fn into_claim(self) -> (Claimant, FirstClaim) {
        let claimant = Claimant {
            account: self.account.into(),
            object: match self.object_kind.as_str() {
                CHECKOUT_SESSION => ObjectId::CheckoutSession(self.object.into()),
                _ => ObjectId::Invoice(self.object.into()),
            },
        };
        let first = FirstClaim {
            created: self.event_created.timestamp(),
            event_id: self.event_id,
        };
        (claimant, first)
    }
}

filter! {
    ByBookings { "booking_id = ANY(" bookings: i32 => Integer, } ")"
}

/// The claims on the bookings named.
pub(crate) async fn load(
    mut conn: &Connection,
    bookings: &[i32],
) -> Result<BTreeMap<BookingId, Claims>> {
    if bookings.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<Row> = Select::<Row, _>::records(ByBookings { bookings })
        .load(&mut conn)
        .await?;
    let mut claims: BTreeMap<BookingId, Claims> = BTreeMap::new();
    for row in rows {
        let of_booking = claims.entry(BookingId(row.booking)).or_default();
        of_booking.extend([row.into_claim()]);
    }
    Ok(claims)
}

/// Writes claims: new ones, and those of which an earlier event came.
pub(crate) async fn write(tx: &WriteTx<'_>, claims: &[ChangedClaim<'_>]) -> Result<()> {
    let rows: Vec<Row> = claims.iter().map(Row::new).collect();
    Upsert::rows(tx, &rows).await?;
    Ok(())
}
