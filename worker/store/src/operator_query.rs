//! What operators ask of invoices and hosts.

use chrono::NaiveDateTime;
use diesel::{
    OptionalExtension, QueryableByName,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamp},
};
use diesel_async::RunQueryDsl;

use crate::{
    Connection, Result,
    event_query::Row,
    invoice_query::{COLUMNS, KnownInvoice},
};

/// A page of waiting invoices behind `after`, by id.
pub async fn waiting(
    mut conn: &Connection,
    reason: Option<&str>,
    account: Option<&str>,
    after: &str,
    limit: i64,
) -> Result<Vec<KnownInvoice>> {
    let query = format!(
        "SELECT {COLUMNS} FROM stripe.invoice i WHERE i.waiting IS NOT NULL AND i.id > $1 \
            AND ($2 IS NULL OR i.waiting = $2) AND ($3 IS NULL OR i.account = $3) \
         ORDER BY i.id LIMIT $4"
    );
    Ok(diesel::sql_query(query)
        .bind::<Text, _>(after)
        .bind::<Nullable<Text>, _>(reason)
        .bind::<Nullable<Text>, _>(account)
        .bind::<BigInt, _>(limit)
        .load(&mut conn)
        .await?)
}

#[derive(QueryableByName)]
struct Waiting {
    #[diesel(sql_type = Text)]
    waiting: String,
}

/// What the object of an event waits for, as a code: its invoice cannot be shown to the
/// main app yet, nobody knows whose booking its session names, or the main app is in the way
/// of its row.
pub async fn waiting_for(mut conn: &Connection, event: &Row) -> Result<Option<String>> {
    let query = match event.event_type.split_once('.').map(|(kind, _)| kind) {
        // Neither waits for anything of the main app's.
        Some("charge" | "credit_note") => return Ok(None),
        Some("invoice") => {
            "SELECT waiting FROM stripe.invoice WHERE id = $1 AND waiting IS NOT NULL \
             UNION ALL SELECT reason FROM stripe.pending_projection WHERE object_id = $1 LIMIT 1"
        }
        _ => {
            "SELECT 'owner_unknown' AS waiting FROM stripe.checkout_session \
             WHERE id = $1 AND owner_unknown \
             UNION ALL SELECT reason FROM stripe.pending_projection WHERE object_id = $1 LIMIT 1"
        }
    };
    let waiting: Option<Waiting> = diesel::sql_query(query)
        .bind::<Nullable<Text>, _>(event.object_id.as_deref())
        .get_result(&mut conn)
        .await
        .optional()?;
    Ok(waiting.map(|row| row.waiting))
}

/// A host, and how far it is.
#[derive(Clone, Debug, QueryableByName)]
#[allow(missing_docs, reason = "docs/MAIN_APP.md describes the columns")]
pub struct Host {
    #[diesel(sql_type = Text)]
    pub account: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub host_id: Option<String>,
    #[diesel(sql_type = Text)]
    pub status: String,
    #[diesel(sql_type = Bool)]
    pub can_sell: bool,
    #[diesel(sql_type = Nullable<Text>)]
    pub disabled_reason: Option<String>,
    #[diesel(sql_type = Array<Text>)]
    pub past_due: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    pub currently_due: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    pub future_due: Vec<String>,
    #[diesel(sql_type = Nullable<Timestamp>)]
    pub deadline: Option<NaiveDateTime>,
    #[diesel(sql_type = Timestamp)]
    pub last_event_at: NaiveDateTime,
}

/// A page of hosts behind `after`, by account.
pub async fn hosts(
    mut conn: &Connection,
    status: Option<&str>,
    after: &str,
    limit: i64,
) -> Result<Vec<Host>> {
    Ok(diesel::sql_query(
        "SELECT \"stripeAccountId\" AS account, \"hostId\" AS host_id, status::text AS status, \
            \"canSell\" AS can_sell, \"disabledReason\" AS disabled_reason, \
            coalesce(\"pastDue\", '{}') AS past_due, \
            coalesce(\"currentlyDue\", '{}') AS currently_due, \
            coalesce(\"futureDue\", '{}') AS future_due, \
            \"currentDeadline\" AS deadline, \"lastEventAt\" AS last_event_at \
         FROM \"HostOnboarding\" WHERE \"stripeAccountId\" > $1 \
            AND ($2 IS NULL OR status::text = $2) ORDER BY 1 LIMIT $3",
    )
    .bind::<Text, _>(after)
    .bind::<Nullable<Text>, _>(status)
    .bind::<BigInt, _>(limit)
    .load(&mut conn)
    .await?)
}
