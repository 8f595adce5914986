//! `stripe.dead_letter`, written: the record of what could not be applied.

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, QueryDsl, QueryableByName,
    sql_types::{Array, BigInt, Binary, Bool, Jsonb, Nullable, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use domain::text_enum;
use serde_json::Value;

use crate::{
    Connection, Result, WriteTx,
    schema::dead_letter,
    statement::{bulk, lookup},
};

text_enum! {
    /// How far a dead letter is.
    pub enum State {
        /// It waits for an operator.
        Dead = "dead",
        /// It was sent again and is not decided yet.
        Replayed = "replayed",
        /// It was applied after all.
        Resolved = "resolved",
        /// An operator gave it up.
        Discarded = "discarded",
    }
}

text_enum! {
    /// Who gave an event up.
    pub enum Origin {
        /// The worker: it cannot be applied.
        Worker = "worker",
        /// The broker: it came back to a queue that has a delivery limit more often than that.
        DeliveryLimit = "delivery_limit",
        /// The broker, for another reason.
        Broker = "broker",
    }
}

/// A dead letter to write. Texts hold no NUL.
#[derive(Clone, Debug)]
pub struct NewDeadLetter {
    /// The event's id; `sha256-` and the hash of the bytes where they do not tell it.
    pub id: String,
    /// The event's id, where anything tells it.
    pub event_id: Option<String>,
    /// The event's fields outside `data`, where they can be read.
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
    /// Who gave it up.
    pub origin: Origin,
    /// Tells this death from another one of the same event.
    pub death_key: String,
    /// When it died.
    pub died_at: DateTime<Utc>,
}

/// The fields of an event outside `data`, as far as Postgres can keep them.
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
    /// When it happened.
    pub created: Option<DateTime<Utc>>,
}

bulk! {
    InsertMany {
        id: &'a str => Text,
        event_id: Option<&'a str> => Nullable<Text>,
        event_type: Option<&'a str> => Nullable<Text>,
        account: Option<&'a str> => Nullable<Text>,
        api_version: Option<&'a str> => Nullable<Text>,
        livemode: Option<bool> => Nullable<Bool>,
        created: Option<DateTime<Utc>> => Nullable<Timestamptz>,
        routing_key: &'a str => Text,
        body: &'a [u8] => Binary,
        properties: &'a Value => Jsonb,
        reason: &'a str => Text,
        detail: &'a str => Text,
        origin: &'static str => Text,
        death_key: &'a str => Text,
        died_at: DateTime<Utc> => Timestamptz,
    }
    "INSERT INTO stripe.dead_letter AS d (id, event_id, type, account, api_version, livemode, \
        created, routing_key, body, properties, reason, detail, origin, death_key, first_at, \
        last_at, state) \
     SELECT n.id, n.event_id, n.type, n.account, n.api_version, n.livemode, n.created, \
        n.routing_key, n.body, n.properties, n.reason, n.detail, n.origin, n.death_key, n.died_at, \
        n.died_at, CASE WHEN e.outcome IS NULL OR e.outcome IN ('dead', 'replayed') \
            OR n.origin <> 'worker' AND e.processed_at <= n.died_at \
            THEN 'dead' ELSE 'resolved' END FROM",
    // The broker tells of a death after it happened: the event may have been applied
    // since, and is resolved then. One death is counted once, however often it is told.
    "AS n (id, event_id, type, account, api_version, livemode, created, routing_key, body, \
        properties, reason, detail, origin, death_key, died_at) \
     LEFT JOIN stripe.event e ON e.id = n.id \
     ON CONFLICT (id) DO UPDATE SET event_id = excluded.event_id, type = excluded.type, \
        account = excluded.account, api_version = excluded.api_version, \
        livemode = excluded.livemode, created = excluded.created, \
        routing_key = excluded.routing_key, body = excluded.body, \
        properties = excluded.properties, reason = excluded.reason, detail = excluded.detail, \
        origin = excluded.origin, death_key = excluded.death_key, \
        last_at = greatest(d.last_at, excluded.last_at), attempts = d.attempts + 1, \
        state = excluded.state, changed_at = now(), changed_by = 'worker' \
     WHERE d.death_key <> excluded.death_key"
}

bulk! {
    AddToLedger {
        id: &'a str => Text,
        event_type: &'a str => Text,
        account: Option<&'a str> => Nullable<Text>,
        api_version: Option<&'a str> => Nullable<Text>,
        livemode: Option<bool> => Nullable<Bool>,
        created: Option<DateTime<Utc>> => Nullable<Timestamptz>,
        reason: &'a str => Text,
    }
    "INSERT INTO stripe.event (id, type, account, api_version, livemode, created, reason, outcome) \
     SELECT n.id, n.type, n.account, n.api_version, n.livemode, \
        coalesce(n.created, to_timestamp(0)), n.reason, 'dead' FROM",
    "AS n (id, type, account, api_version, livemode, created, reason) \
     ON CONFLICT (id) DO UPDATE SET outcome = 'dead', reason = excluded.reason, \
        processed_at = now(), attempts = event.attempts + 1 \
     WHERE event.outcome = 'replayed'"
}

/// Writes dead letters, no two of one id. The ledger's rows of this transaction must have
/// been written before.
///
/// An event that the ledger does not have yet, because its handler crashes or its
/// header cannot be kept, is added to it.
pub async fn insert_many(tx: &WriteTx<'_>, letters: &[NewDeadLetter]) -> Result<()> {
    if letters.is_empty() {
        return Ok(());
    }
    let (mut insert, mut ledger) = (InsertMany::default(), AddToLedger::default());
    for letter in letters {
        let envelope = letter.envelope.as_ref();
        insert.id.push(&letter.id);
        insert.event_id.push(letter.event_id.as_deref());
        insert
            .event_type
            .push(envelope.map(|one| one.event_type.as_str()));
        insert
            .account
            .push(envelope.and_then(|one| one.account.as_deref()));
        insert
            .api_version
            .push(envelope.and_then(|one| one.api_version.as_deref()));
        insert.livemode.push(envelope.and_then(|one| one.livemode));
        insert.created.push(envelope.and_then(|one| one.created));
        insert.routing_key.push(&letter.routing_key);
        insert.body.push(&letter.body);
        insert.properties.push(&letter.properties);
        insert.reason.push(&letter.reason);
        insert.detail.push(&letter.detail);
        insert.origin.push(letter.origin.as_str());
        insert.death_key.push(&letter.death_key);
        insert.died_at.push(letter.died_at);
        if let Some(envelope) = envelope {
            ledger.id.push(&letter.id);
            ledger.event_type.push(&envelope.event_type);
            ledger.account.push(envelope.account.as_deref());
            ledger.api_version.push(envelope.api_version.as_deref());
            ledger.livemode.push(envelope.livemode);
            ledger.created.push(envelope.created);
            ledger.reason.push(&letter.reason);
        }
    }
    let mut conn: &Connection = tx;
    insert.execute(&mut conn).await?;
    ledger.execute(&mut conn).await?;
    Ok(())
}

bulk! {
    Resolve {
        id: &'a str => Text,
        replay: Option<i64> => Nullable<BigInt>,
    }
    "UPDATE stripe.dead_letter d SET state = 'resolved', replay_id = n.replay_id, \
        changed_at = now(), changed_by = 'worker' FROM",
    "AS n (id, replay_id) WHERE d.id = n.id AND d.state <> 'resolved'"
}

/// The events of these dead letters were applied after all, each by the replay beside it
/// or by a delivery of Stripe.
pub async fn resolve(tx: &WriteTx<'_>, applied: &[(&str, Option<i64>)]) -> Result<()> {
    if applied.is_empty() {
        return Ok(());
    }
    let mut resolve = Resolve::default();
    for (id, replay) in applied {
        resolve.id.push(id);
        resolve.replay.push(*replay);
    }
    let mut conn: &Connection = tx;
    resolve.execute(&mut conn).await?;
    Ok(())
}

/// Why and when the events of dead letters are dead once more.
#[derive(Debug)]
pub struct Deaths<'a> {
    /// The ids of the dead letters.
    pub ids: Vec<&'a str>,
    /// Why, in a sentence each.
    pub details: Vec<String>,
    /// Why, as a code.
    pub reason: &'a str,
    /// Tells this death from another one.
    pub death_key: String,
    /// When.
    pub at: DateTime<Utc>,
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = Text)]
    id: String,
}

/// The worker gives the events of these dead letters up once more, resolved or not. Gives
/// back the ids of the dead letters that there are.
pub async fn reopen(tx: &WriteTx<'_>, deaths: &Deaths<'_>) -> Result<Vec<String>> {
    let mut conn: &Connection = tx;
    let reopened: Vec<Id> = diesel::sql_query(
        "UPDATE stripe.dead_letter d SET state = 'dead', reason = $3, detail = n.detail, \
            origin = 'worker', death_key = $4, last_at = $5, attempts = d.attempts + 1, \
            replay_id = NULL, changed_at = now(), changed_by = 'worker' \
         FROM unnest($1, $2) AS n (id, detail) WHERE d.id = n.id RETURNING d.id",
    )
    .bind::<Array<Text>, _>(&deaths.ids)
    .bind::<Array<Text>, _>(&deaths.details)
    .bind::<Text, _>(deaths.reason)
    .bind::<Text, _>(&deaths.death_key)
    .bind::<Timestamptz, _>(deaths.at)
    .load(&mut conn)
    .await?;
    Ok(reopened.into_iter().map(|row| row.id).collect())
}

/// Gives up those of `ids` that are dead, for an operator. Returns their ids.
pub async fn discard(tx: &WriteTx<'_>, ids: &[String], by: &str) -> Result<Vec<String>> {
    let mut conn: &Connection = tx;
    let dead = dead_letter::table
        .filter(dead_letter::id.eq_any(ids))
        .filter(dead_letter::state.eq(State::Dead.as_str()));
    let discarded = diesel::update(dead)
        .set((
            dead_letter::state.eq(State::Discarded.as_str()),
            dead_letter::changed_at.eq(diesel::dsl::now),
            dead_letter::changed_by.eq(by),
        ))
        .returning(dead_letter::id)
        .get_results(&mut conn)
        .await?;
    Ok(discarded)
}

lookup! {
    Replayed { &'a str => Text }
    "UPDATE stripe.event SET outcome = 'replayed' WHERE outcome = 'dead' AND id = ANY(" ")"
}

/// Takes those of `ids` that are in this state for a replay. Returns which.
pub async fn claim_for_replay(
    tx: &WriteTx<'_>,
    replay: i64,
    by: &str,
    ids: &[String],
    state: State,
) -> Result<Vec<String>> {
    let mut conn: &Connection = tx;
    let claimed: Vec<Id> = diesel::sql_query(
        "UPDATE stripe.dead_letter SET state = 'replayed', replay_id = $1, changed_at = now(), \
            changed_by = $2 WHERE id = ANY($3) AND state = $4 RETURNING id",
    )
    .bind::<BigInt, _>(replay)
    .bind::<Text, _>(by)
    .bind::<Array<Text>, _>(ids)
    .bind::<Text, _>(state.as_str())
    .load(&mut conn)
    .await?;
    let claimed: Vec<String> = claimed.into_iter().map(|row| row.id).collect();
    let ids: Vec<&str> = claimed.iter().map(String::as_str).collect();
    Replayed(&ids).execute(&mut conn).await?;
    Ok(claimed)
}
