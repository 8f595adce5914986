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

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Counts what waits. Every count goes by an index that holds nothing else: what was decided
/// long ago is not read.
pub async fn count(conn: &Connection) -> Result<Backlog> {
    let (pending, waiting, open_dead_letters, reads) = try_join!(
        pending(conn),
        waiting(conn),
        open_dead_letters(conn),
        api_read::reads(conn)
    )?;
    Ok(Backlog {
        pending,
        waiting,
        open_dead_letters,
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
