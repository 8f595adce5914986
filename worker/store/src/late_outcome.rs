//! `stripe.late_outcome`: of which objects and bookings more events have another outcome now than
//! one transaction writes.
//!
//! A host can send any number of events of one invoice, and change by the next one what all of
//! them come to. So a transaction writes [some](crate::event::MAX_RECLASSIFIED) of them, and a job
//! the rest.

use diesel::{QueryableByName, sql_types::Text};
use diesel_async::RunQueryDsl;
use domain::{ids::BookingId, source::Recheck};

use crate::{Connection, Result, WriteTx, booking_claim, statement::bulk};

const BOOKING: &str = "booking";

bulk! {
    Note {
        kind: &'static str => Text,
        id: String => Text,
    }
    "INSERT INTO stripe.late_outcome (kind, id) SELECT * FROM",
    // Whoever was looked at last comes last.
    "ON CONFLICT (kind, id) DO UPDATE SET noted_at = excluded.noted_at"
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
    let (kind, id) = rows(of);
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

bulk! {
    Remove {
        kind: &'static str => Text,
        id: String => Text,
    }
    "DELETE FROM stripe.late_outcome l USING",
    "AS n (kind, id) WHERE l.kind = n.kind AND l.id = n.id"
}

/// What is noted as a kind and an id.
fn rows(of: &Recheck) -> (Vec<&'static str>, Vec<String>) {
    let objects = of.objects.iter();
    let objects = objects.map(|object| (booking_claim::kind(object), object.as_str().to_owned()));
    let bookings = of.owners.iter().map(|id| (BOOKING, id.to_string()));
    objects.chain(bookings).unzip()
}

/// Notes that there is more to write of these.
pub async fn note(tx: &WriteTx<'_>, of: &Recheck) -> Result<()> {
    let (kind, id) = rows(of);
    if id.is_empty() {
        return Ok(());
    }
    let mut conn: &Connection = tx;
    let note = Note {
        kind,
        id,
        ..Note::default()
    };
    note.execute(&mut conn).await?;
    Ok(())
}

/// Removes the notes of what is written.
pub async fn remove(tx: &WriteTx<'_>, of: &Recheck) -> Result<()> {
    let (kind, id) = rows(of);
    if id.is_empty() {
        return Ok(());
    }
    let mut conn: &Connection = tx;
    let remove = Remove {
        kind,
        id,
        ..Remove::default()
    };
    remove.execute(&mut conn).await?;
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
