//! Erasing what is kept of one connected account, in parts: a host can have millions of rows,
//! and a transaction that erases keeps all writers waiting.

mod part;

use std::ops::AddAssign;

use diesel::{
    OptionalExtension, QueryableByName,
    sql_types::{Array, BigInt, Nullable, Text},
};
use diesel_async::RunQueryDsl;

use self::part::LEDGER;
pub use self::part::Part;
use crate::{Connection, Result, WriteTx, archive_page::ArchivePage};

/// How many rows of an account there are, or were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Rows of invoices, sessions, charges, credit notes, claims, the account, its history, its
    /// commands, its pending rows, its late outcomes and its news.
    pub rows: usize,
    /// Dead letters.
    pub dead_letters: usize,
    /// Rows of the ledger that no longer name the account.
    pub ledger: usize,
    /// Rows of `"HostOnboarding"`.
    pub hosts: usize,
}

impl AddAssign for Erased {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.dead_letters += other.dead_letters;
        self.ledger += other.ledger;
        self.hosts += other.hosts;
    }
}

/// The rows of which an account has few: table and condition.
const FEW: [(&str, &str); 4] = [
    (
        "stripe.pending_projection",
        "(kind = 'host' AND id = $1) OR object_id = $1",
    ),
    ("stripe.account_transition", "account_id = $1"),
    ("stripe.outbox_version", "subject = 'host' AND key = $1"),
    ("stripe.account", "id = $1"),
];
const NEWS: (&str, &str) = (
    "stripe.outbox",
    "key = $1 OR payload ->> 'stripeAccountId' = $1",
);
const HOSTS: (&str, &str) = ("\"HostOnboarding\"", "\"stripeAccountId\" = $1");
/// What is left of a row of the ledger.
const LEFT_OF_LEDGER: &str = "account = NULL, object_id = NULL, claimed_booking_id = NULL, \
    trace_id = NULL, archive_page_id = NULL, reason = NULL, \
    outcome = CASE outcome WHEN 'applied' THEN 'applied' ELSE 'stale' END";

/// The ids of an account's rows among some rows of a table.
#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    last: String,
    #[diesel(sql_type = Nullable<Array<Text>>)]
    ids: Option<Vec<String>>,
}

/// The ids of the account's rows among the next `limit` rows of a table behind `after`, and the
/// last of those rows, behind which the next ones are; `None` at the end of the table.
pub async fn next(
    mut conn: &Connection,
    part: Part,
    account: &str,
    after: &str,
    limit: i64,
) -> Result<Option<(String, Vec<String>)>> {
    let (table, key, condition) = part.table();
    // Several rows may have the key: they are read together.
    let query = format!(
        "WITH bound AS (SELECT max({key}) AS last FROM \
            (SELECT {key} FROM {table} WHERE {key} > $2 ORDER BY {key} LIMIT $3) AS page) \
         SELECT last, (SELECT array_agg(DISTINCT {key}) FROM {table} \
            WHERE {key} > $2 AND {key} <= last AND ({condition})) AS ids \
         FROM bound WHERE last IS NOT NULL"
    );
    let found: Option<Found> = diesel::sql_query(query)
        .bind::<Text, _>(account)
        .bind::<Text, _>(after)
        .bind::<BigInt, _>(limit)
        .get_result(&mut conn)
        .await
        .optional()?;
    Ok(found.map(|found| (found.last, found.ids.unwrap_or_default())))
}

/// What is done with rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Count,
    Erase,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Counts or erases the rows of a table of which a condition on the account (`$1`) and some ids
/// (`$2`) is true.
async fn act(
    mut conn: &Connection,
    act: Act,
    (table, condition): (&str, &str),
    account: &str,
    ids: &[String],
) -> Result<usize> {
    let rows = match (act, table) {
        (Act::Count, _) => format!("SELECT 1 FROM {table}"),
        (Act::Erase, LEDGER) => format!("UPDATE {table} SET {LEFT_OF_LEDGER}"),
        (Act::Erase, _) => format!("DELETE FROM {table}"),
    };
    let returning = match act {
        Act::Count => "",
        Act::Erase => "RETURNING 1",
    };
    // Each statement uses both parameters, so that their types are known.
    let query = diesel::sql_query(format!(
        "WITH rows AS ({rows} WHERE ({condition}) AND $1::text <> '' AND $2::text[] IS NOT NULL \
            {returning}) \
         SELECT count(*) AS count FROM rows"
    ));
    let row: Count = query
        .bind::<Text, _>(account)
        .bind::<Array<Text>, _>(ids)
        .get_result(&mut conn)
        .await?;
    Ok(usize::try_from(row.count).unwrap_or(0))
}

async fn act_on_part(
    conn: &Connection,
    what: Act,
    part: Part,
    account: &str,
    ids: &[String],
) -> Result<Erased> {
    let mut beside = 0;
    for rows in part.beside() {
        beside += act(conn, what, *rows, account, ids).await?;
    }
    let (table, key, condition) = part.table();
    let its = format!("{key} = ANY($2) AND ({condition})");
    let own = act(conn, what, (table, &its), account, ids).await?;
    let mut erased = Erased::default();
    match part {
        Part::Events => (erased.ledger, erased.dead_letters) = (own, beside),
        Part::DeadLetters => erased.dead_letters = own,
        _ => erased.rows = own + beside,
    }
    Ok(erased)
}

async fn act_on_few(conn: &Connection, what: Act, account: &str) -> Result<Erased> {
    let mut erased = Erased {
        hosts: act(conn, what, HOSTS, account, &[]).await?,
        ..Erased::default()
    };
    for rows in FEW {
        erased.rows += act(conn, what, rows, account, &[]).await?;
    }
    Ok(erased)
}

/// Erases rows of the account by their ids, with what is kept of them elsewhere. The ledger keeps
/// the ids of its events, each as one that had its effect: an event that comes late once more is a
/// duplicate then, and brings nothing back.
pub async fn erase(tx: &WriteTx<'_>, part: Part, account: &str, ids: &[String]) -> Result<Erased> {
    act_on_part(tx, Act::Erase, part, account, ids).await
}

/// Counts what [`erase`] would erase.
pub async fn count(conn: &Connection, part: Part, account: &str, ids: &[String]) -> Result<Erased> {
    act_on_part(conn, Act::Count, part, account, ids).await
}

/// Erases what an account has few rows of, the account's own among them. `"Invoice"` is left
/// alone.
pub async fn erase_few(tx: &WriteTx<'_>, account: &str) -> Result<Erased> {
    act_on_few(tx, Act::Erase, account).await
}

/// Counts what [`erase_few`] would erase.
pub async fn count_few(conn: &Connection, account: &str) -> Result<Erased> {
    act_on_few(conn, Act::Count, account).await
}

/// Erases up to `limit` rows of the account's news. Returns how many.
pub async fn erase_news(mut conn: &Connection, account: &str, limit: i64) -> Result<usize> {
    let (table, condition) = NEWS;
    let query = format!(
        "DELETE FROM {table} WHERE id = ANY(ARRAY( \
            SELECT id FROM {table} WHERE {condition} LIMIT $2))"
    );
    let news = diesel::sql_query(query)
        .bind::<Text, _>(account)
        .bind::<BigInt, _>(limit);
    Ok(news.execute(&mut conn).await?)
}

/// Counts the account's news.
pub async fn count_news(conn: &Connection, account: &str) -> Result<usize> {
    act(conn, Act::Count, NEWS, account, &[]).await
}

#[derive(QueryableByName)]
struct PageId {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// Up to `limit` numbers of archive pages behind `after`.
pub async fn pages(mut conn: &Connection, after: i64, limit: i64) -> Result<Vec<i64>> {
    let ids: Vec<PageId> =
        diesel::sql_query("SELECT id FROM stripe.event_archive WHERE id > $1 ORDER BY id LIMIT $2")
            .bind::<BigInt, _>(after)
            .bind::<BigInt, _>(limit)
            .load(&mut conn)
            .await?;
    Ok(ids.into_iter().map(|row| row.id).collect())
}

/// Stores what is left of a page in its place; `None` removes it.
pub async fn replace_page(tx: &WriteTx<'_>, id: i64, page: Option<&ArchivePage>) -> Result<()> {
    let mut conn: &Connection = tx;
    match page {
        Some(page) => {
            diesel::sql_query(
                "UPDATE stripe.event_archive SET event_ids = $2, ends = $3, bytes = $4 WHERE id = $1",
            )
            .bind::<BigInt, _>(id)
            .bind::<Array<Text>, _>(&page.event_ids)
            .bind::<Array<diesel::sql_types::Integer>, _>(&page.ends)
            .bind::<diesel::sql_types::Binary, _>(&page.bytes)
            .execute(&mut conn)
            .await?;
        }
        None => {
            diesel::sql_query("DELETE FROM stripe.event_archive WHERE id = $1")
                .bind::<BigInt, _>(id)
                .execute(&mut conn)
                .await?;
        }
    }
    Ok(())
}
