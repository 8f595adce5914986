//! `stripe.booking_claim`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, QueryDsl, QueryResult,
    sql_types::{Integer, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::{schema::booking_claim, statement::bulk};
use domain::{
    booking::{Claimant, FirstClaim, Kind},
    claim::BookingId,
    fields::moment,
};

/// The claims on one booking.
pub type Claims = BTreeMap<Claimant, FirstClaim>;

/// The claims on the bookings named.
///
/// # Errors
/// As Postgres says.
pub async fn load(
    mut conn: &AsyncPgConnection,
    bookings: &[BookingId],
) -> QueryResult<BTreeMap<BookingId, Claims>> {
    let rows: Vec<(BookingId, String, String, String, DateTime<Utc>, String)> =
        booking_claim::table
            .filter(booking_claim::booking_id.eq_any(bookings))
            .select((
                booking_claim::booking_id,
                booking_claim::account,
                booking_claim::object_kind,
                booking_claim::object_id,
                booking_claim::event_created,
                booking_claim::event_id,
            ))
            .load(&mut conn)
            .await?;
    let mut claims: BTreeMap<BookingId, Claims> = BTreeMap::new();
    for (booking, account, kind, object, created, event_id) in rows {
        let kind = if kind == "session" {
            Kind::Session
        } else {
            Kind::Invoice
        };
        let first = FirstClaim {
            created: created.timestamp(),
            event_id,
        };
        let claimant = Claimant {
            account,
            kind,
            object,
        };
        claims.entry(booking).or_default().insert(claimant, first);
    }
    Ok(claims)
}

bulk! {
    Write {
        booking: BookingId => Integer,
        account: &'a str => Text,
        kind: &'a str => Text,
        object: &'a str => Text,
        created: DateTime<Utc> => Timestamptz,
        event_id: &'a str => Text,
    }
    "INSERT INTO stripe.booking_claim (booking_id, account, object_kind, object_id, event_created, \
        event_id) SELECT * FROM"
    "ON CONFLICT (booking_id, account, object_kind, object_id) DO UPDATE \
        SET event_created = excluded.event_created, event_id = excluded.event_id"
}

/// Writes claims, new ones and those whose first event turned out to be
/// earlier.
///
/// # Errors
/// As Postgres says.
pub async fn write(
    mut conn: &AsyncPgConnection,
    rows: &[(BookingId, &Claimant, &FirstClaim)],
) -> QueryResult<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut write = Write::default();
    for (booking, claimant, first) in rows {
        write.booking.push(*booking);
        write.account.push(&claimant.account);
        write.kind.push(match claimant.kind {
            Kind::Invoice => "invoice",
            Kind::Session => "session",
        });
        write.object.push(&claimant.object);
        write.created.push(moment(first.created));
        write.event_id.push(&first.event_id);
    }
    write.execute(&mut conn).await.map(drop)
}
