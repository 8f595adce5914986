//! Erasing what is kept of one connected account.

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Text},
};
use diesel_async::RunQueryDsl;

use crate::{Connection, Result, WriteTx, archive_page::ArchivePage};

/// How many rows of an account there are, or were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Rows of invoices, sessions, charges, credit notes, claims, the account, its history, its
    /// commands, its pending rows and its news.
    pub rows: usize,
    /// Dead letters.
    pub dead_letters: usize,
    /// Rows of the ledger that no longer name the account.
    pub ledger: usize,
    /// Rows of `"HostOnboarding"`.
    pub hosts: usize,
}

/// The rows that are removed: table and condition. The conditions of the first ones read what
/// the later ones remove.
const ROWS: [(&str, &str); 12] = [
    (
        "stripe.pending_projection",
        "(kind = 'host' AND id = $1) OR object_id = $1 \
         OR object_id IN (SELECT id FROM stripe.invoice WHERE account = $1)",
    ),
    (
        "stripe.booking_claim",
        "account = $1 \
         OR (object_kind = 'invoice' AND object_id IN \
            (SELECT id FROM stripe.invoice WHERE account = $1)) \
         OR (object_kind = 'session' AND object_id IN \
            (SELECT id FROM stripe.checkout_session WHERE account = $1))",
    ),
    (
        "stripe.outbox_refund",
        "invoice_id IN (SELECT id FROM stripe.invoice WHERE account = $1)",
    ),
    ("stripe.invoice", "account = $1"),
    ("stripe.checkout_session", "account = $1"),
    ("stripe.charge", "account = $1"),
    ("stripe.credit_note", "account = $1"),
    ("stripe.account_transition", "account_id = $1"),
    ("stripe.command", "object_id = $1 OR account = $1"),
    (
        "stripe.outbox",
        "key = $1 OR payload ->> 'stripeAccountId' = $1",
    ),
    ("stripe.outbox_version", "subject = 'host' AND key = $1"),
    ("stripe.account", "id = $1"),
];
/// Dead letters, those without a readable account included whose event the ledger knows.
const DEAD_LETTERS: &str =
    "account = $1 OR id IN (SELECT id FROM stripe.event WHERE account = $1 OR object_id = $1)";
const LEDGER: &str = "account = $1 OR object_id = $1";
const HOSTS: &str = "\"stripeAccountId\" = $1";

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Counts what [`rows`] would erase.
pub async fn count(conn: &Connection, account: &str) -> Result<Erased> {
    let count = async |table: &str, condition: &str| -> Result<usize> {
        let mut conn = conn;
        let query = format!("SELECT count(*) AS count FROM {table} WHERE {condition}");
        let row: Count = diesel::sql_query(query)
            .bind::<Text, _>(account)
            .get_result(&mut conn)
            .await?;
        Ok(usize::try_from(row.count).unwrap_or(0))
    };
    let mut erased = Erased {
        dead_letters: count("stripe.dead_letter", DEAD_LETTERS).await?,
        ledger: count("stripe.event", LEDGER).await?,
        hosts: count("\"HostOnboarding\"", HOSTS).await?,
        ..Erased::default()
    };
    for (table, condition) in ROWS {
        erased.rows += count(table, condition).await?;
    }
    Ok(erased)
}

/// Erases the account's rows. The ledger keeps the ids of its events, each as one that had its
/// effect: an event that comes late once more is a duplicate then, and brings nothing back.
/// `"Invoice"` is left alone.
pub async fn rows(tx: &WriteTx<'_>, account: &str) -> Result<Erased> {
    let execute = async |query: String| -> Result<usize> {
        let mut conn: &Connection = tx;
        let query = diesel::sql_query(query).bind::<Text, _>(account);
        Ok(query.execute(&mut conn).await?)
    };
    let delete = |table: &str, condition: &str| format!("DELETE FROM {table} WHERE {condition}");
    let mut erased = Erased {
        dead_letters: execute(delete("stripe.dead_letter", DEAD_LETTERS)).await?,
        hosts: execute(delete("\"HostOnboarding\"", HOSTS)).await?,
        ..Erased::default()
    };
    for (table, condition) in ROWS {
        erased.rows += execute(delete(table, condition)).await?;
    }
    erased.ledger = execute(format!(
        "UPDATE stripe.event SET account = NULL, object_id = NULL, claimed_booking_id = NULL, \
            trace_id = NULL, archive_page_id = NULL, reason = NULL, \
            outcome = CASE outcome WHEN 'applied' THEN 'applied' ELSE 'stale' END \
         WHERE {LEDGER}"
    ))
    .await?;
    Ok(erased)
}

/// The ids of the account's events, as far as the ledger knows them.
pub async fn events(mut conn: &Connection, account: &str) -> Result<Vec<String>> {
    let ids: Vec<Id> = diesel::sql_query(format!("SELECT id FROM stripe.event WHERE {LEDGER}"))
        .bind::<Text, _>(account)
        .load(&mut conn)
        .await?;
    Ok(ids.into_iter().map(|row| row.id).collect())
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = Text)]
    id: String,
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
