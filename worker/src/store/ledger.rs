//! `stripe.event`, the ledger.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, QueryDsl, QueryResult,
    sql_types::{BigInt, Bool, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::{
    schema::event,
    statement::{bulk, lookup},
};

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It changed what is known.
    Applied,
    /// All of it, or later, was known.
    Stale,
    /// Its invoice has no booking to show it at yet.
    Waiting,
    /// It is not for us.
    Ignored,
    /// It could not be applied.
    Dead,
}

impl Outcome {
    /// As the ledger keeps it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Stale => "stale",
            Self::Waiting => "waiting",
            Self::Ignored => "ignored",
            Self::Dead => "dead",
        }
    }
}

/// What brought the delivery that gave an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Stripe delivered it.
    Webhook,
    /// An operator sent it again.
    Replay,
}

impl Source {
    /// As the ledger keeps it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Replay => "replay",
        }
    }
}

/// One row to write.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The event's id.
    pub id: String,
    /// The event's type.
    pub event_type: String,
    /// The event's account.
    pub account: Option<String>,
    /// The API version of its object.
    pub api_version: Option<String>,
    /// Its mode.
    pub livemode: Option<bool>,
    /// When it happened at Stripe.
    pub created: DateTime<Utc>,
    /// The object that it is about.
    pub object_id: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, as a code.
    pub reason: Option<&'static str>,
    /// When ingest received it.
    pub received_at: Option<DateTime<Utc>>,
    /// The W3C trace id of its delivery.
    pub trace_id: Option<String>,
    /// What brought the delivery.
    pub source: Source,
    /// The page that holds its bytes.
    pub kept_in: Option<i64>,
}

/// A dead event, and one that an operator has sent again, are judged once more.
const JUDGED_AGAIN: [&str; 2] = ["dead", "replayed"];

/// Which of the events named are in the ledger, and whether as dead ones, which
/// are judged again.
///
/// # Errors
/// As Postgres says.
pub async fn known(
    mut conn: &AsyncPgConnection,
    ids: &[&str],
) -> QueryResult<BTreeMap<String, bool>> {
    let rows: Vec<(String, bool)> = event::table
        .filter(event::id.eq_any(ids))
        .select((event::id, event::outcome.eq_any(JUDGED_AGAIN)))
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().collect())
}

bulk! {
    Write {
        id: &'a str => Text,
        event_type: &'a str => Text,
        account: Option<&'a str> => Nullable<Text>,
        api_version: Option<&'a str> => Nullable<Text>,
        livemode: Option<bool> => Nullable<Bool>,
        created: DateTime<Utc> => Timestamptz,
        object: Option<&'a str> => Nullable<Text>,
        outcome: &'a str => Text,
        reason: Option<&'a str> => Nullable<Text>,
        received_at: Option<DateTime<Utc>> => Nullable<Timestamptz>,
        trace_id: Option<&'a str> => Nullable<Text>,
        source: &'a str => Text,
        kept_in: Option<i64> => Nullable<BigInt>,
    }
    "INSERT INTO stripe.event (id, type, account, api_version, livemode, created, object_id, \
        outcome, reason, received_at, trace_id, source, kept_in) SELECT * FROM"
    "ON CONFLICT (id) DO UPDATE SET object_id = excluded.object_id, outcome = excluded.outcome, \
        reason = excluded.reason, source = excluded.source, processed_at = now(), \
        attempts = event.attempts + 1, kept_in = coalesce(excluded.kept_in, event.kept_in)"
}

/// Writes the outcomes of new events, and of dead ones that were judged again.
///
/// # Errors
/// As Postgres says.
pub async fn write(mut conn: &AsyncPgConnection, entries: &[Entry]) -> QueryResult<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut write = Write::default();
    for entry in entries {
        write.id.push(&entry.id);
        write.event_type.push(&entry.event_type);
        write.account.push(entry.account.as_deref());
        write.api_version.push(entry.api_version.as_deref());
        write.livemode.push(entry.livemode);
        write.created.push(entry.created);
        write.object.push(entry.object_id.as_deref());
        write.outcome.push(entry.outcome.as_str());
        write.reason.push(entry.reason);
        write.received_at.push(entry.received_at);
        write.trace_id.push(entry.trace_id.as_deref());
        write.source.push(entry.source.as_str());
        write.kept_in.push(entry.kept_in);
    }
    write.execute(&mut conn).await.map(drop)
}

lookup! {
    NoLongerWaiting { &'a str => Text }
    "UPDATE stripe.event SET outcome = 'applied', reason = NULL, processed_at = now() \
     WHERE outcome = 'waiting' AND object_id = ANY(" ")"
}

/// The events of invoices that no longer wait have been applied after all.
///
/// # Errors
/// As Postgres says.
pub async fn no_longer_waiting(mut conn: &AsyncPgConnection, invoices: &[&str]) -> QueryResult<()> {
    if invoices.is_empty() {
        return Ok(());
    }
    NoLongerWaiting(invoices).execute(&mut conn).await.map(drop)
}
