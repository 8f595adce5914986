//! Removing what is older than it has to be kept, in small batches.

use diesel::sql_types::{BigInt, Integer};
use diesel_async::RunQueryDsl;

use crate::{Connection, Result};

/// What can be pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pages with the bytes of events.
    Bodies,
    /// The ledger's rows, but of events whose dead letter waits for somebody.
    Ledger,
    /// Dead letters that are resolved or discarded.
    DeadLetters,
    /// Replays, with their items.
    Replays,
    /// News for the main app that waits no more.
    News,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Bodies,
        Self::Ledger,
        Self::DeadLetters,
        Self::Replays,
        Self::News,
    ];

    /// What it is, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bodies => "pages of event bodies",
            Self::Ledger => "ledger rows",
            Self::DeadLetters => "dead letters",
            Self::Replays => "replays",
            Self::News => "rows of news",
        }
    }

    /// Table, key and what is old.
    fn parts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Bodies => (
                "stripe.event_archive",
                "id",
                "stored_at < now() - make_interval(days => $1)",
            ),
            Self::Ledger => (
                "stripe.event",
                "id",
                "first_seen_at < now() - make_interval(days => $1) \
                 AND processed_at < now() - make_interval(days => $1) \
                 AND NOT EXISTS (SELECT FROM stripe.dead_letter d \
                    WHERE d.id = event.id AND d.state IN ('dead', 'replayed'))",
            ),
            Self::DeadLetters => (
                "stripe.dead_letter",
                "id",
                "state IN ('resolved', 'discarded') \
                 AND changed_at < now() - make_interval(days => $1)",
            ),
            Self::Replays => (
                "stripe.replay",
                "id",
                "started_at < now() - make_interval(days => $1)",
            ),
            Self::News => (
                "stripe.outbox",
                "id",
                "created_at < now() - make_interval(days => $1) AND state <> 'waiting'",
            ),
        }
    }
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Removes up to `limit` that are older than `days`. Returns how many.
pub async fn remove(mut conn: &Connection, kind: Kind, days: i32, limit: i64) -> Result<usize> {
    let (table, key, old) = kind.parts();
    // SKIP LOCKED: a row that is being worked on is not old.
    Ok(diesel::sql_query(format!(
        "DELETE FROM {table} WHERE {key} = ANY(ARRAY( \
            SELECT {key} FROM {table} WHERE {old} LIMIT $2 FOR UPDATE SKIP LOCKED))"
    ))
    .bind::<Integer, _>(days)
    .bind::<BigInt, _>(limit)
    .execute(&mut conn)
    .await?)
}

/// How many are older than `days`.
pub async fn count(mut conn: &Connection, kind: Kind, days: i32) -> Result<i64> {
    let (table, _, old) = kind.parts();
    let count: Count =
        diesel::sql_query(format!("SELECT count(*) AS count FROM {table} WHERE {old}"))
            .bind::<Integer, _>(days)
            .get_result(&mut conn)
            .await?;
    Ok(count.count)
}
