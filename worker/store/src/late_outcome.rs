//! `stripe.late_outcome`: of which objects and bookings more events have another outcome now than
//! one transaction writes.
//!
//! A host can send any number of events of one invoice, and change by the next one what all of
//! them come to. So a transaction writes [some](crate::event::MAX_RECLASSIFIED) of them, and a job
//! the rest.

use std::collections::BTreeMap;

use diesel::{
    QueryableByName,
    sql_types::{Bool, Text},
};
use diesel_async::RunQueryDsl;
use domain::{ids::BookingId, source::Recheck};

use crate::{Connection, Result, WriteTx, booking_claim, statement::bulk};

const BOOKING: &str = "booking";

bulk! {
    Replace {
        kind: &'static str => Text,
        id: String => Text,
        is_left: bool => Bool,
    }
    "WITH given AS (SELECT * FROM",
    // Whoever was looked at last comes last.
    "AS g (kind, id, is_left)), \
        removed AS (DELETE FROM stripe.late_outcome l USING given g \
            WHERE l.kind = g.kind AND l.id = g.id AND NOT g.is_left) \
        INSERT INTO stripe.late_outcome (kind, id) SELECT kind, id FROM given WHERE is_left \
        ON CONFLICT (kind, id) DO UPDATE SET noted_at = excluded.noted_at"
}

bulk! {
    Noted {
        kind: &'static str => Text,
        id: String => Text,
    }
    "SELECT l.kind, l.id FROM stripe.late_outcome l JOIN",
    "AS n (kind, id) USING (kind, id)"
}

/// Those of them that are noted: their job writes what changed of them.
pub async fn noted(mut conn: &Connection, of: &Recheck) -> Result<Recheck> {
    let (kind, id): (Vec<_>, Vec<_>) = rows(of).unzip();
    if id.is_empty() {
        return Ok(Recheck::default());
    }
    let noted = Noted {
        kind,
        id,
        ..Noted::default()
    };
    let rows: Vec<Row> = noted.load(&mut conn).await?;
    let mut noted = Recheck::default();
    for row in rows {
        row.add_to(&mut noted);
    }
    Ok(noted)
}

/// What is noted as a kind and an id.
fn rows(of: &Recheck) -> impl Iterator<Item = (&'static str, String)> {
    let objects = of.objects.iter();
    let objects = objects.map(|object| (booking_claim::kind(object), object.as_str().to_owned()));
    let bookings = of.owners.iter().map(|id| (BOOKING, id.to_string()));
    objects.chain(bookings)
}

/// Removes the notes of what is written, and notes what is left to write.
pub async fn replace(tx: &WriteTx<'_>, written: &Recheck, left: &Recheck) -> Result<()> {
    let (written, left) = (rows(written), rows(left));
    // One statement touches no row twice.
    let rows: BTreeMap<_, _> = written
        .map(|row| (row, false))
        .chain(left.map(|row| (row, true)))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let mut replace = Replace::default();
    for ((kind, id), is_left) in rows {
        replace.kind.push(kind);
        replace.id.push(id);
        replace.is_left.push(is_left);
    }
    let mut conn: &Connection = tx;
    replace.execute(&mut conn).await?;
    Ok(())
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    id: String,
}

/// The one that was not looked at for longest; `None` where nothing is noted.
pub async fn next(mut conn: &Connection) -> Result<Option<Recheck>> {
    let query = "SELECT kind, id FROM stripe.late_outcome ORDER BY noted_at LIMIT 1";
    let rows: Vec<Row> = diesel::sql_query(query).load(&mut conn).await?;
    Ok(rows.into_iter().next().map(|row| {
        let mut recheck = Recheck::default();
        row.add_to(&mut recheck);
        recheck
    }))
}

impl Row {
    fn add_to(self, recheck: &mut Recheck) {
        let Self { kind, id } = self;
        match (kind.as_str(), id.parse()) {
            (BOOKING, Ok(booking)) => drop(recheck.owners.insert(BookingId(booking))),
            (kind, _) => drop(recheck.objects.insert(booking_claim::object(kind, id))),
        }
    }
}
