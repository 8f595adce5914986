//! `stripe.account` and `stripe.account_transition`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, Queryable,
    Selectable, SelectableHelper,
    sql_types::{Bool, Jsonb, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Deserialize;
use serde_json::Value;

use crate::{schema::account, statement::bulk};
use domain::{
    account::{Account, Standing},
    fields::moment,
};

/// A row of `stripe.account`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = account)]
pub struct Row {
    id: String,
    standing: Option<Value>,
    snapshot_event_id: Option<String>,
    undecided: bool,
    deauthorized_at: Option<DateTime<Utc>>,
    connected_at: Option<DateTime<Utc>>,
    first_event_at: Option<DateTime<Utc>>,
}

impl Row {
    /// The row of an account as it has to be.
    pub fn new(id: &str, account: &Account) -> Self {
        let winner = account.standing.as_ref().and_then(Standing::winner);
        Self {
            id: id.to_owned(),
            standing: account
                .standing
                .as_ref()
                .and_then(|standing| serde_json::to_value(standing).ok()),
            snapshot_event_id: winner.as_ref().map(|winner| winner.event_id.to_owned()),
            undecided: winner.is_some_and(|winner| winner.undecided),
            deauthorized_at: account.deauthorized.map(moment),
            connected_at: account.connected.map(moment),
            first_event_at: account.first_event.map(moment),
        }
    }

    /// What is known of the account.
    ///
    /// # Errors
    /// The row holds what this worker did not write.
    pub fn account(&self) -> Result<Account, serde_json::Error> {
        let seconds = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp());
        Ok(Account {
            standing: self
                .standing
                .as_ref()
                .map(Standing::deserialize)
                .transpose()?,
            deauthorized: seconds(self.deauthorized_at),
            connected: seconds(self.connected_at),
            first_event: seconds(self.first_event_at),
        })
    }
}

/// The rows of the accounts named.
///
/// # Errors
/// As Postgres says.
pub async fn load(
    mut conn: &AsyncPgConnection,
    ids: &[String],
) -> QueryResult<BTreeMap<String, Row>> {
    let rows: Vec<Row> = account::table
        .filter(account::id.eq_any(ids))
        .select(Row::as_select())
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(|row| (row.id.clone(), row)).collect())
}

/// An account after `after` whose last snapshot only the API can tell. Of one that
/// is disconnected it tells nothing any more.
///
/// # Errors
/// As Postgres says.
pub async fn undecided(mut conn: &AsyncPgConnection, after: &str) -> QueryResult<Option<String>> {
    account::table
        .filter(account::undecided)
        .filter(
            account::deauthorized_at
                .is_null()
                .or(account::connected_at.gt(account::deauthorized_at)),
        )
        .filter(account::id.gt(after))
        .order(account::id)
        .select(account::id)
        .first(&mut conn)
        .await
        .optional()
}

bulk! {
    Write {
        id: &'a str => Text,
        standing: Option<&'a Value> => Nullable<Jsonb>,
        event_id: Option<&'a str> => Nullable<Text>,
        undecided: bool => Bool,
        deauthorized: Option<DateTime<Utc>> => Nullable<Timestamptz>,
        connected: Option<DateTime<Utc>> => Nullable<Timestamptz>,
        first: Option<DateTime<Utc>> => Nullable<Timestamptz>,
    }
    "INSERT INTO stripe.account (id, standing, snapshot_event_id, undecided, deauthorized_at, \
        connected_at, first_event_at) SELECT * FROM"
    "ON CONFLICT (id) DO UPDATE SET standing = excluded.standing, \
        snapshot_event_id = excluded.snapshot_event_id, undecided = excluded.undecided, \
        deauthorized_at = excluded.deauthorized_at, connected_at = excluded.connected_at, \
        first_event_at = excluded.first_event_at, updated_at = now()"
}

/// Writes rows whole, new ones and known ones.
///
/// # Errors
/// As Postgres says.
pub async fn write(mut conn: &AsyncPgConnection, rows: &[Row]) -> QueryResult<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut write = Write::default();
    for row in rows {
        write.id.push(&row.id);
        write.standing.push(row.standing.as_ref());
        write.event_id.push(row.snapshot_event_id.as_deref());
        write.undecided.push(row.undecided);
        write.deauthorized.push(row.deauthorized_at);
        write.connected.push(row.connected_at);
        write.first.push(row.first_event_at);
    }
    write.execute(&mut conn).await.map(drop)
}

/// A row of `stripe.account_transition`.
#[derive(Clone, Debug)]
pub struct Transition {
    /// The account.
    pub account_id: String,
    /// When it happened at Stripe.
    pub event_created: DateTime<Utc>,
    /// The event.
    pub event_id: String,
    /// `updated`, `authorized` or `deauthorized`.
    pub sign: &'static str,
    /// The status that the snapshot alone gives.
    pub status: Option<&'static str>,
    /// Whether a guest could pay the host.
    pub can_sell: Option<bool>,
    /// Stripe's reason for holding the account back.
    pub disabled_reason: Option<String>,
    /// When Stripe will hold the account back.
    pub deadline: Option<DateTime<Utc>>,
}

bulk! {
    Note {
        account: &'a str => Text,
        created: DateTime<Utc> => Timestamptz,
        event_id: &'a str => Text,
        sign: &'a str => Text,
        status: Option<&'a str> => Nullable<Text>,
        can_sell: Option<bool> => Nullable<Bool>,
        reason: Option<&'a str> => Nullable<Text>,
        deadline: Option<DateTime<Utc>> => Nullable<Timestamptz>,
    }
    "INSERT INTO stripe.account_transition (account_id, event_created, event_id, sign, status, \
        can_sell, disabled_reason, current_deadline) SELECT * FROM"
    // Judged again, by a rule that may have been mended since.
    "ON CONFLICT (account_id, event_created, event_id) DO UPDATE SET status = excluded.status, \
        can_sell = excluded.can_sell, disabled_reason = excluded.disabled_reason, \
        current_deadline = excluded.current_deadline"
}

/// Adds to the history of hosts.
///
/// # Errors
/// As Postgres says.
pub async fn note(mut conn: &AsyncPgConnection, rows: &[Transition]) -> QueryResult<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut note = Note::default();
    for row in rows {
        note.account.push(&row.account_id);
        note.created.push(row.event_created);
        note.event_id.push(&row.event_id);
        note.sign.push(row.sign);
        note.status.push(row.status);
        note.can_sell.push(row.can_sell);
        note.reason.push(row.disabled_reason.as_deref());
        note.deadline.push(row.deadline);
    }
    note.execute(&mut conn).await.map(drop)
}
