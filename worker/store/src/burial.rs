//! Writing dead letters down.

use chrono::{DateTime, Utc};
use diesel::{
    QueryResult,
    sql_types::{Binary, Bool, Jsonb, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;

use crate::statement::bulk;

/// A dead message as it is written down. Texts hold no NUL.
#[derive(Clone, Debug)]
pub struct Grave {
    /// The event's id, or `sha256-...`.
    pub id: String,
    /// The event's id, where anything tells it.
    pub event_id: Option<String>,
    /// What the envelope says, where it can be read.
    pub envelope: Option<EnvelopeColumns>,
    /// The routing key.
    pub routing_key: String,
    /// The exact bytes.
    pub body: Vec<u8>,
    /// All AMQP properties as JSON.
    pub properties: Value,
    /// Why, as a code.
    pub reason: String,
    /// Why, in a sentence.
    pub detail: String,
    /// `worker`, `delivery_limit` or `broker`.
    pub origin: &'static str,
    /// What tells this death from another one of the same event.
    pub mark: String,
    /// When it died.
    pub died_at: DateTime<Utc>,
}

/// What an event says of itself, as far as Postgres can keep it.
#[derive(Clone, Debug)]
pub struct EnvelopeColumns {
    /// The event's type.
    pub event_type: String,
    /// The connected account.
    pub account: Option<String>,
    /// The API version of its object.
    pub api_version: Option<String>,
    /// Its mode.
    pub livemode: Option<bool>,
    /// When it happened at Stripe.
    pub created: Option<DateTime<Utc>>,
}

/// One death of one event is counted once, however often its message comes. An
/// event that was applied since it died is resolved. Where the death was the
/// worker's verdict, the ledger said "dead" before the message was published, so
/// what it says now is newer, whatever the clocks say: a unit's time is when it
/// began to wait for its turn.
const BURY: &str = "INSERT INTO stripe.dead_letter (id, event_id, type, account, api_version, \
        livemode, created, routing_key, body, properties, reason, detail, origin, mark, first_at, \
        last_at, state) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15, \
        CASE WHEN EXISTS (SELECT FROM stripe.event e WHERE e.id = $1 \
            AND e.outcome NOT IN ('dead', 'replayed') \
            AND ($13 = 'worker' OR e.processed_at > $15)) \
        THEN 'resolved' ELSE 'dead' END) \
    ON CONFLICT (id) DO UPDATE SET event_id = excluded.event_id, type = excluded.type, \
        account = excluded.account, api_version = excluded.api_version, \
        livemode = excluded.livemode, created = excluded.created, \
        routing_key = excluded.routing_key, body = excluded.body, \
        properties = excluded.properties, reason = excluded.reason, detail = excluded.detail, \
        origin = excluded.origin, mark = excluded.mark, \
        last_at = greatest(dead_letter.last_at, excluded.last_at), \
        attempts = dead_letter.attempts + 1, state = excluded.state, \
        changed_at = now(), changed_by = 'worker' \
    WHERE dead_letter.mark <> excluded.mark";

/// The ledger has a row of every event, also of one whose handler crashed before
/// it could write one.
const NOTE: &str = "INSERT INTO stripe.event (id, type, account, api_version, livemode, created, \
        outcome, reason) \
    VALUES ($1, $2, $3, $4, $5, coalesce($6, to_timestamp(0)), 'dead', $7) \
    ON CONFLICT (id) DO UPDATE SET outcome = 'dead', reason = excluded.reason, \
        processed_at = now(), attempts = event.attempts + 1 \
    WHERE event.outcome = 'replayed'";

bulk! {
    BuryAll {
        id: &'a str => Text,
        event_type: &'a str => Text,
        account: Option<&'a str> => Nullable<Text>,
        api_version: Option<&'a str> => Nullable<Text>,
        livemode: Option<bool> => Nullable<Bool>,
        created: Option<DateTime<Utc>> => Nullable<Timestamptz>,
        routing_key: &'a str => Text,
        body: &'a [u8] => Binary,
        properties: &'a Value => Jsonb,
        reason: &'a str => Text,
        detail: &'a str => Text,
        origin: &'a str => Text,
        mark: &'a str => Text,
        died_at: DateTime<Utc> => Timestamptz,
    }
    "INSERT INTO stripe.dead_letter (id, event_id, type, account, api_version, livemode, created, \
        routing_key, body, properties, reason, detail, origin, mark, first_at, last_at) \
     SELECT id, id, type, account, api_version, livemode, created, routing_key, body, properties, \
        reason, detail, origin, mark, died_at, died_at FROM"
    "AS g (id, type, account, api_version, livemode, created, routing_key, body, properties, \
        reason, detail, origin, mark, died_at) ON CONFLICT (id) DO NOTHING"
}

/// Writes the dead letters of events down that the ledger has as dead already,
/// and that have none yet.
///
/// # Errors
/// As Postgres says.
pub async fn bury_all(mut conn: &AsyncPgConnection, graves: &[Grave]) -> QueryResult<()> {
    let mut write = BuryAll::default();
    for grave in graves {
        let Some(envelope) = &grave.envelope else {
            continue;
        };
        write.id.push(&grave.id);
        write.event_type.push(&envelope.event_type);
        write.account.push(envelope.account.as_deref());
        write.api_version.push(envelope.api_version.as_deref());
        write.livemode.push(envelope.livemode);
        write.created.push(envelope.created);
        write.routing_key.push(&grave.routing_key);
        write.body.push(&grave.body);
        write.properties.push(&grave.properties);
        write.reason.push(&grave.reason);
        write.detail.push(&grave.detail);
        write.origin.push(grave.origin);
        write.mark.push(&grave.mark);
        write.died_at.push(grave.died_at);
    }
    write.execute(&mut conn).await.map(drop)
}

/// Writes one dead message down, in the caller's transaction.
///
/// # Errors
/// As Postgres says.
pub async fn bury(mut conn: &AsyncPgConnection, grave: &Grave) -> QueryResult<()> {
    let envelope = grave.envelope.as_ref();
    diesel::sql_query(BURY)
        .bind::<Text, _>(&grave.id)
        .bind::<Nullable<Text>, _>(&grave.event_id)
        .bind::<Nullable<Text>, _>(envelope.map(|envelope| &envelope.event_type))
        .bind::<Nullable<Text>, _>(envelope.and_then(|envelope| envelope.account.as_ref()))
        .bind::<Nullable<Text>, _>(envelope.and_then(|envelope| envelope.api_version.as_ref()))
        .bind::<Nullable<Bool>, _>(envelope.and_then(|envelope| envelope.livemode))
        .bind::<Nullable<Timestamptz>, _>(envelope.and_then(|envelope| envelope.created))
        .bind::<Text, _>(&grave.routing_key)
        .bind::<Binary, _>(&grave.body)
        .bind::<Jsonb, _>(&grave.properties)
        .bind::<Text, _>(&grave.reason)
        .bind::<Text, _>(&grave.detail)
        .bind::<Text, _>(grave.origin)
        .bind::<Text, _>(&grave.mark)
        .bind::<Timestamptz, _>(grave.died_at)
        .execute(&mut conn)
        .await?;
    let Some(envelope) = envelope else {
        return Ok(());
    };
    diesel::sql_query(NOTE)
        .bind::<Text, _>(&grave.id)
        .bind::<Text, _>(&envelope.event_type)
        .bind::<Nullable<Text>, _>(&envelope.account)
        .bind::<Nullable<Text>, _>(&envelope.api_version)
        .bind::<Nullable<Bool>, _>(envelope.livemode)
        .bind::<Nullable<Timestamptz>, _>(envelope.created)
        .bind::<Text, _>(&grave.reason)
        .execute(&mut conn)
        .await
        .map(drop)
}
