//! `stripe.deployment`: what the database remembers of its first start.
//!
//! Account ids are the same in both of Stripe's modes, and two deployments would each write
//! what the other one knows nothing of. So a database belongs to one deployment.

use diesel::{
    OptionalExtension, QueryableByName,
    sql_types::{Bool, Nullable, Text},
};
use diesel_async::RunQueryDsl;
use event::Mode;

use crate::{Connection, Result};

/// A deployment, as far as its database tells it from others.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Deployment {
    /// Stripe's mode, as `STRIPE_MODE` names it.
    #[diesel(sql_type = Text)]
    pub mode: String,
    /// The schema of the main app's tables.
    #[diesel(sql_type = Text)]
    pub app_schema: String,
    /// What is put before the names of its exchanges and queues.
    #[diesel(sql_type = Text)]
    pub amqp_prefix: String,
}

#[derive(QueryableByName)]
struct Is {
    #[diesel(sql_type = Bool)]
    there: bool,
}

/// The deployment of the first start; `None` before it, and before the table is made.
pub async fn find(mut conn: &Connection) -> Result<Option<Deployment>> {
    let query = "SELECT to_regclass('stripe.deployment') IS NOT NULL AS there";
    let table: Is = diesel::sql_query(query).get_result(&mut conn).await?;
    if !table.there {
        return Ok(None);
    }
    let query = "SELECT mode, app_schema, amqp_prefix FROM stripe.deployment";
    Ok(diesel::sql_query(query)
        .get_result(&mut conn)
        .await
        .optional()?)
}

/// Writes the deployment of the first start. Returns the one that is there afterwards:
/// another worker may have been first.
pub async fn remember(mut conn: &Connection, first: &Deployment) -> Result<Deployment> {
    let written: Option<Deployment> = diesel::sql_query(
        "INSERT INTO stripe.deployment (mode, app_schema, amqp_prefix) VALUES ($1, $2, $3) \
         ON CONFLICT DO NOTHING RETURNING mode, app_schema, amqp_prefix",
    )
    .bind::<Text, _>(&first.mode)
    .bind::<Text, _>(&first.app_schema)
    .bind::<Text, _>(&first.amqp_prefix)
    .get_result(&mut conn)
    .await
    .optional()?;
    let there = match written {
        Some(written) => Some(written),
        None => find(conn).await?,
    };
    Ok(there.unwrap_or_else(|| first.clone()))
}

#[derive(QueryableByName)]
struct Schema {
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
}

/// The schema of the main app's tables, as this session finds it; empty where there is none.
pub async fn app_schema(mut conn: &Connection) -> Result<String> {
    let query = "SELECT current_schema()::text AS name";
    let schema: Schema = diesel::sql_query(query).get_result(&mut conn).await?;
    Ok(schema.name.unwrap_or_default())
}

#[derive(QueryableByName)]
struct OfMode {
    #[diesel(sql_type = Text)]
    mode: String,
}

/// The mode of the events that the ledger says were applied last, for a database that
/// remembers no first start; `None` where there are none.
pub async fn mode_of_ledger(mut conn: &Connection) -> Result<Option<Mode>> {
    let last: Option<OfMode> = diesel::sql_query(
        "SELECT CASE WHEN livemode THEN 'live' ELSE 'test' END AS mode FROM stripe.event \
         WHERE livemode IS NOT NULL AND outcome IN ('applied', 'stale') \
         ORDER BY first_seen_at DESC LIMIT 1",
    )
    .get_result(&mut conn)
    .await
    .optional()?;
    Ok(last.and_then(|last| Mode::parse(&last.mode)))
}
