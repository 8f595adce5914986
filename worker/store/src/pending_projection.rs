//! `stripe.pending_projection`: rows of the main app's tables that could not be written yet.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension, QueryableByName,
    sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use domain::{
    ids::{AccountId, BookingId},
    main_app::{Obstacle, ObstacleReason, Pending, Target},
};

use crate::{Connection, Result, WriteTx, main_app::Blocked, statement::bulk};

/// A projection that could not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The row.
    pub target: Target,
    /// The invoice or the account that it is to show.
    pub object: Option<String>,
    /// What is in its way.
    pub obstacle: Obstacle,
}

/// The pause before the second try in seconds. Each later one is twice as long, up to 30 s,
/// up to 5 s where a lock is in the way, because many locked rows are found at the price of one, and
/// up to 600 s where each try ends a session.
fn first_pause(reason: ObstacleReason) -> i32 {
    match reason {
        ObstacleReason::Locked => 1,
        ObstacleReason::NotTried => 0,
        // Where the server's process crashes, the server ends every session.
        ObstacleReason::SessionEnded => 30,
        ObstacleReason::ForeignKey
        | ObstacleReason::Check
        | ObstacleReason::NotNull
        | ObstacleReason::Unique
        | ObstacleReason::RowLevelSecurity
        | ObstacleReason::Permission
        | ObstacleReason::Refused => 2,
    }
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Bool)]
    is_due: bool,
}

bulk! {
    Load {
        kind: &'static str => Text,
        id: String => Text,
    }
    "SELECT p.kind, p.id, p.next_try_at <= now() AS is_due FROM stripe.pending_projection p JOIN",
    // Nearly always there is none, and then no row is looked for.
    "AS n (kind, id) USING (kind, id) WHERE EXISTS (SELECT FROM stripe.pending_projection)"
}

/// Which of these rows are pending.
pub(crate) async fn load(
    mut conn: &Connection,
    bookings: &[BookingId],
    accounts: &[AccountId],
) -> Result<BTreeMap<Target, Pending>> {
    let mut load = Load::default();
    let bookings = bookings.iter().map(|id| Target::Booking(*id));
    let accounts = accounts.iter().map(|id| Target::Host(id.clone()));
    for target in bookings.chain(accounts) {
        load.kind.push(target.kind());
        load.id.push(target.id());
    }
    if load.id.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<Row> = load.load(&mut conn).await?;
    let pending = rows.into_iter().filter_map(|row| {
        let is_due = if row.is_due {
            Pending::Due
        } else {
            Pending::Later
        };
        Some((Target::parse(&row.kind, &row.id)?, is_due))
    });
    Ok(pending.collect())
}

bulk! {
    Note {
        kind: &'static str => Text,
        id: String => Text,
        object: Option<&'a str> => Nullable<Text>,
        reason: &'static str => Text,
        detail: &'a str => Text,
        first_pause: i32 => Integer,
    }
    "INSERT INTO stripe.pending_projection AS p \
        (kind, id, object_id, reason, detail, tries, next_try_at) \
     SELECT n.kind, n.id, n.object_id, n.reason, n.detail, (n.reason <> 'not_tried')::integer, \
        now() + n.first_pause * interval '1 s' FROM",
    // One that was not tried again has the reason that it had.
    "AS n (kind, id, object_id, reason, detail, first_pause) \
     ON CONFLICT (kind, id) DO UPDATE SET \
        object_id = coalesce(excluded.object_id, p.object_id), \
        reason = CASE excluded.reason WHEN 'not_tried' THEN p.reason ELSE excluded.reason END, \
        detail = CASE excluded.reason WHEN 'not_tried' THEN p.detail ELSE excluded.detail END, \
        last_at = now(), \
        tries = p.tries + (excluded.reason <> 'not_tried')::integer, \
        next_try_at = now() + least( \
            extract(epoch FROM excluded.next_try_at - now()) * 2 ^ least(p.tries, 10), \
            CASE excluded.reason WHEN 'locked' THEN 5 WHEN 'session_ended' THEN 600 ELSE 30 END) \
            * interval '1 s'"
}

/// Notes what could not be written.
pub(crate) async fn note(tx: &WriteTx<'_>, failed: &[Failed]) -> Result<()> {
    if failed.is_empty() {
        return Ok(());
    }
    let mut note = Note::default();
    for one in failed {
        note.kind.push(one.target.kind());
        note.id.push(one.target.id());
        note.object.push(one.object.as_deref());
        note.reason.push(one.obstacle.reason.as_str());
        note.detail.push(&one.obstacle.detail);
        note.first_pause.push(first_pause(one.obstacle.reason));
    }
    let mut conn: &Connection = tx;
    note.execute(&mut conn).await?;
    Ok(())
}

bulk! {
    Remove {
        kind: &'static str => Text,
        id: String => Text,
    }
    "DELETE FROM stripe.pending_projection p USING",
    "AS n (kind, id) WHERE p.kind = n.kind AND p.id = n.id"
}

/// Removes what is pending no more.
pub(crate) async fn remove(tx: &WriteTx<'_>, targets: impl Iterator<Item = &Target>) -> Result<()> {
    let mut remove = Remove::default();
    for target in targets {
        remove.kind.push(target.kind());
        remove.id.push(target.id());
    }
    if remove.id.is_empty() {
        return Ok(());
    }
    let mut conn: &Connection = tx;
    remove.execute(&mut conn).await?;
    Ok(())
}

/// Up to `limit` rows that are to be tried now, those that waited longest first, without those of
/// tables that are locked. Rows that were never tried have pages of their own: most of them are in
/// nobody's way, and rows that are refused would take their time.
pub async fn due(mut conn: &Connection, locked: Blocked, limit: i64) -> Result<BTreeSet<Target>> {
    let kinds = match locked {
        Blocked {
            bookings: false,
            hosts: false,
        } => "true",
        Blocked {
            bookings: false,
            hosts: true,
        } => "kind <> 'host'",
        Blocked {
            bookings: true,
            hosts: false,
        } => "kind = 'host'",
        Blocked {
            bookings: true,
            hosts: true,
        } => return Ok(BTreeSet::new()),
    };
    for which in ["tries = 0", "tries > 0 AND next_try_at <= now()"] {
        let rows: Vec<Row> = diesel::sql_query(format!(
            "SELECT kind, id, true AS is_due FROM stripe.pending_projection \
             WHERE {which} AND {kinds} ORDER BY next_try_at LIMIT $1"
        ))
        .bind::<BigInt, _>(limit)
        .load(&mut conn)
        .await?;
        let targets = rows.iter();
        let targets = targets.filter_map(|row| Target::parse(&row.kind, &row.id));
        let targets: BTreeSet<Target> = targets.collect();
        if !targets.is_empty() {
            return Ok(targets);
        }
    }
    Ok(BTreeSet::new())
}

/// What is in the way of a booking's row; `None` where it is not pending.
pub async fn of_booking(
    mut conn: &Connection,
    booking: BookingId,
) -> Result<Option<ObstacleReason>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        reason: String,
    }
    let target = Target::Booking(booking);
    let row = diesel::sql_query(
        "SELECT reason FROM stripe.pending_projection WHERE kind = $1 AND id = $2",
    )
    .bind::<Text, _>(target.kind())
    .bind::<Text, _>(target.id());
    let row: Option<Row> = row.get_result(&mut conn).await.optional()?;
    // A code of a later release is a refusal of some kind.
    Ok(row.map(|row| ObstacleReason::parse(&row.reason).unwrap_or(ObstacleReason::Refused)))
}

/// One pending row, as operators see it.
#[derive(Clone, Debug, QueryableByName)]
pub struct PendingRow {
    /// `booking`, `host`, or `invoice` for one that waits for its booking.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The booking's id, the account's or the invoice's.
    #[diesel(sql_type = Text)]
    pub id: String,
    /// The invoice or the account that it is to show; of an invoice its booking.
    #[diesel(sql_type = Nullable<Text>)]
    pub object: Option<String>,
    /// What is in the way, as a code.
    #[diesel(sql_type = Text)]
    pub reason: String,
    /// What the database said.
    #[diesel(sql_type = Text)]
    pub detail: String,
    /// When it first could not be written.
    #[diesel(sql_type = Timestamptz)]
    pub first_at: DateTime<Utc>,
    /// When it was last tried.
    #[diesel(sql_type = Timestamptz)]
    pub last_at: DateTime<Utc>,
    /// How often.
    #[diesel(sql_type = Integer)]
    pub tries: i32,
    /// When it is tried again.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub next_try_at: Option<DateTime<Utc>>,
}

/// Which pending rows are wanted.
#[derive(Clone, Debug, Default)]
pub struct Selection<'a> {
    /// Only of this kind.
    pub kind: Option<&'a str>,
    /// Only with this reason.
    pub reason: Option<&'a str>,
}

/// A page of pending rows and waiting invoices behind the kind and id `after`, by kind and
/// id.
pub async fn list(
    mut conn: &Connection,
    only: &Selection<'_>,
    after: (&str, &str),
    limit: i64,
) -> Result<Vec<PendingRow>> {
    Ok(diesel::sql_query(
        "SELECT * FROM (\
            (SELECT kind, id, object_id AS object, reason, detail, first_at, last_at, tries, \
                next_try_at FROM stripe.pending_projection \
                WHERE (kind, id) > ($1, $2) AND ($3 IS NULL OR kind = $3) \
                    AND ($4 IS NULL OR reason = $4) ORDER BY kind, id LIMIT $5) \
            UNION ALL \
            (SELECT 'invoice', id, booking_id::text, waiting, '', updated_at, updated_at, 0, NULL \
                FROM stripe.invoice WHERE waiting IS NOT NULL AND ('invoice', id) > ($1, $2) \
                    AND coalesce($3, 'invoice') = 'invoice' AND ($4 IS NULL OR waiting = $4) \
                ORDER BY id LIMIT $5)) AS all_pending \
         ORDER BY kind, id LIMIT $5",
    )
    .bind::<Text, _>(after.0)
    .bind::<Text, _>(after.1)
    .bind::<Nullable<Text>, _>(only.kind)
    .bind::<Nullable<Text>, _>(only.reason)
    .bind::<BigInt, _>(limit)
    .load(&mut conn)
    .await?)
}
