//! How much waits in the tables, for the gauges.

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text},
};
use diesel_async::RunQueryDsl;
use futures_util::try_join;

use crate::{
    Connection, Result,
    api_read::{self, Reads},
};

/// How much waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Rows of the main app's tables that could not be written yet.
    pub pending: Vec<PendingCount>,
    /// Invoices that wait, by reason.
    pub waiting: Vec<WaitingCount>,
    /// Dead letters in the state `dead`.
    pub open_dead_letters: i64,
    /// News for the main app that is to be published.
    pub news: WaitingNews,
    /// Reads of Stripe's API in 30 days.
    pub reads: Reads,
}

/// How many rows are pending for one reason.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct PendingCount {
    /// `booking` or `host`.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// What is in the way, as a code.
    #[diesel(sql_type = Text)]
    pub reason: String,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
}

/// How many invoices wait for one reason.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct WaitingCount {
    /// What they wait for, as a code.
    #[diesel(sql_type = Text)]
    pub reason: String,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
}

/// News that is to be published.
#[derive(Clone, Debug, Default, PartialEq, Eq, QueryableByName)]
pub struct WaitingNews {
    /// How many rows.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
    /// For how many seconds the first of them has waited; 0 where there is none.
    #[diesel(sql_type = BigInt)]
    pub oldest_seconds: i64,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Counts what waits. Every count goes by an index that holds nothing else: what was decided
/// long ago is not read.
pub async fn count(conn: &Connection) -> Result<Backlog> {
    let (pending, waiting, open_dead_letters, news, reads) = try_join!(
        pending(conn),
        waiting(conn),
        open_dead_letters(conn),
        news(conn),
        api_read::reads(conn)
    )?;
    Ok(Backlog {
        pending,
        waiting,
        open_dead_letters,
        news,
        reads,
    })
}

async fn pending(mut conn: &Connection) -> Result<Vec<PendingCount>> {
    Ok(diesel::sql_query(
        "SELECT kind, reason, count(*) AS count FROM stripe.pending_projection GROUP BY kind, reason",
    )
    .load(&mut conn)
    .await?)
}

async fn waiting(mut conn: &Connection) -> Result<Vec<WaitingCount>> {
    Ok(diesel::sql_query(
        "SELECT waiting AS reason, count(*) AS count FROM stripe.invoice \
         WHERE waiting IS NOT NULL GROUP BY waiting",
    )
    .load(&mut conn)
    .await?)
}

async fn open_dead_letters(mut conn: &Connection) -> Result<i64> {
    let dead: Count =
        diesel::sql_query("SELECT count(*) AS count FROM stripe.dead_letter WHERE state = 'dead'")
            .get_result(&mut conn)
            .await?;
    Ok(dead.count)
}

async fn news(mut conn: &Connection) -> Result<WaitingNews> {
    Ok(diesel::sql_query(
        "SELECT count(*) AS count, coalesce(floor(extract(epoch FROM now() - \
            (SELECT created_at FROM stripe.outbox WHERE state = 'waiting' ORDER BY id LIMIT 1))), 0) \
            ::bigint AS oldest_seconds FROM stripe.outbox WHERE state = 'waiting'",
    )
    .get_result(&mut conn)
    .await?)
}
