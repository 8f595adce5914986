//! `stripe.crash_note`: the tries of deliveries that may be what their workers die of, each
//! noted before it begins.

use std::collections::HashSet;

use diesel::{
    QueryableByName,
    sql_types::{Integer, Text},
};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use crate::{
    Connection, Result, WriteTx,
    statement::{bulk, lookup},
};

/// The tables that a batch reads and writes. A note is made only while nobody keeps the
/// worker from any of them: a worker that is killed while it waits for a lock has not
/// noted the try.
pub const TABLES: [&str; 18] = [
    "account",
    "account_transition",
    "booking_claim",
    "charge",
    "checkout_session",
    "crash_note",
    "credit_note",
    "dead_letter",
    "event",
    "event_archive",
    "invoice",
    "late_outcome",
    "outbox",
    "outbox_refund",
    "outbox_version",
    "pending_projection",
    "replay",
    "replay_item",
];

bulk! {
    Begin { id: &'a str => Text, }
    "INSERT INTO stripe.crash_note AS c (id) SELECT n.id FROM",
    "AS n (id) ON CONFLICT (id) DO UPDATE SET tries = c.tries + 1, last_at = now() \
     RETURNING tries"
}

bulk! {
    BeginTogether { id: &'a str => Text, }
    "INSERT INTO stripe.crash_note (id, tries) SELECT DISTINCT n.id, 0 FROM",
    "AS n (id) ON CONFLICT (id) DO NOTHING"
}

lookup! {
    Find { &'a str => Text }
    "SELECT id FROM stripe.crash_note WHERE id = ANY(" ")"
}

lookup! {
    Remove { &'a str => Text }
    "DELETE FROM stripe.crash_note WHERE id = ANY(" ")"
}

#[derive(QueryableByName)]
struct Noted {
    #[diesel(sql_type = Text)]
    id: String,
}

#[derive(QueryableByName)]
struct Tries {
    #[diesel(sql_type = Integer)]
    tries: i32,
}

/// Those of these deliveries that have a note: the process died that handled them.
pub async fn find(mut conn: &Connection, ids: &[&str]) -> Result<HashSet<String>> {
    let noted: Vec<Noted> = Find(ids).load(&mut conn).await?;
    Ok(noted.into_iter().map(|noted| noted.id).collect())
}

/// Notes that a try of a delivery alone begins. Returns the number of the try, 1 for the
/// first one. The transaction must be committed before the try begins, and holds nothing but
/// notes.
///
/// # Errors
/// Somebody holds a lock that the try would wait for, among the reasons of any statement.
pub async fn begin(tx: &WriteTx<'_>, id: &str) -> Result<i32> {
    let mut conn: &Connection = tx;
    wait_for_nobody(conn).await?;
    let mut begin = Begin::default();
    begin.id.push(id);
    let noted: Tries = begin.get_result(&mut conn).await?;
    Ok(noted.tries)
}

/// Notes that a try of deliveries together begins, which is no try of any of them alone. The
/// transaction is as that of [`begin`].
///
/// # Errors
/// As [`begin`].
pub async fn begin_together(tx: &WriteTx<'_>, ids: &[&str]) -> Result<()> {
    let mut conn: &Connection = tx;
    wait_for_nobody(conn).await?;
    let mut begin = BeginTogether::default();
    begin.id.extend(ids);
    begin.execute(&mut conn).await?;
    Ok(())
}

/// Sees that nobody is in the way of what a try does.
async fn wait_for_nobody(mut conn: &Connection) -> Result<()> {
    // A note has to outlive this process, and not the server: it does not wait for a disk.
    let tables = TABLES.map(|table| format!("stripe.{table}")).join(", ");
    conn.batch_execute(&format!(
        "SET LOCAL synchronous_commit = off; LOCK TABLE {tables} IN ROW EXCLUSIVE MODE"
    ))
    .await?;
    Ok(())
}

/// Removes the notes of deliveries: their try ended otherwise than by a death.
/// Outside of a transaction they are removed at once.
pub async fn remove(mut conn: &Connection, ids: &[&str]) -> Result<()> {
    Remove(ids).execute(&mut conn).await?;
    Ok(())
}
