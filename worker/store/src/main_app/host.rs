//! `"HostOnboarding"`: how far each host is. The columns are described in
//! `docs/MAIN_APP.md`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::{
    OptionalExtension, QueryableByName,
    sql_types::{Bool, Nullable, Text, Timestamp},
};
use diesel_async::RunQueryDsl;
use domain::{news::HostBefore, rows::HostRow};

use crate::{
    Connection, Result, WriteTx,
    record::{Upsert, record},
    statement::lookup,
};

record! {
    /// A row of `"HostOnboarding"`. Lists are text as Postgres writes arrays.
    struct Row in "\"HostOnboarding\"" {
        key { account: String => Text = "\"stripeAccountId\"", }
        host_id: Option<String> => Nullable<Text> = "\"hostId\"",
        status: &'static str => Text = "\"status\"" cast "::\"HostOnboardingStatus\"",
        can_sell: bool => Bool = "\"canSell\"",
        charges_enabled: bool => Bool = "\"chargesEnabled\"",
        payouts_enabled: bool => Bool = "\"payoutsEnabled\"",
        details_submitted: bool => Bool = "\"detailsSubmitted\"",
        currently_due: String => Text = "\"currentlyDue\"" cast "::text[]",
        past_due: String => Text = "\"pastDue\"" cast "::text[]",
        eventually_due: String => Text = "\"eventuallyDue\"" cast "::text[]",
        pending_verification: String => Text = "\"pendingVerification\"" cast "::text[]",
        disabled_reason: Option<String> => Nullable<Text> = "\"disabledReason\"",
        deadline: Option<NaiveDateTime> => Nullable<Timestamp> = "\"currentDeadline\"",
        account_type: Option<String> => Nullable<Text> = "\"type\"",
        country: Option<String> => Nullable<Text> = "\"country\"",
        default_currency: Option<String> => Nullable<Text> = "\"defaultCurrency\"",
        last_event_at: NaiveDateTime => Timestamp = "\"lastEventAt\"",
        created_at: NaiveDateTime => Timestamp = "\"createdAt\"",
        future_due: String => Text = "\"futureDue\"" cast "::text[]",
        updated_at: NaiveDateTime => Timestamp = "\"updatedAt\"",
    }
    on update ""
}

/// Writes rows, new ones and known ones. Returns how many were written.
pub(super) async fn write(
    tx: &WriteTx<'_>,
    hosts: &[&HostRow],
    now: DateTime<Utc>,
) -> Result<usize> {
    let rows: Vec<Row> = hosts
        .iter()
        .map(|host| Row {
            account: host.account.to_string(),
            host_id: host.host_id.clone(),
            status: host.status.as_str(),
            can_sell: host.can_sell,
            charges_enabled: host.charges_enabled,
            payouts_enabled: host.payouts_enabled,
            details_submitted: host.details_submitted,
            currently_due: array(&host.requirements.currently_due),
            past_due: array(&host.requirements.past_due),
            eventually_due: array(&host.requirements.eventually_due),
            pending_verification: array(&host.requirements.pending_verification),
            disabled_reason: host.requirements.disabled_reason.clone(),
            deadline: host.deadline.map(|at| at.naive_utc()),
            account_type: host.account_type.clone(),
            country: host.country.clone(),
            default_currency: host.default_currency.clone(),
            last_event_at: host.last_event_at.naive_utc(),
            created_at: host.created_at.naive_utc(),
            future_due: array(&host.future_due),
            updated_at: now.naive_utc(),
        })
        .collect();
    Upsert::rows(tx, &rows).await
}

/// When the row of an account was last written; `None` where there is no row.
pub async fn updated_at(mut conn: &Connection, account: &str) -> Result<Option<DateTime<Utc>>> {
    #[derive(QueryableByName)]
    struct Written {
        #[diesel(sql_type = Timestamp)]
        at: NaiveDateTime,
    }
    let query = "SELECT \"updatedAt\" AS at FROM \"HostOnboarding\" WHERE \"stripeAccountId\" = $1";
    let row = diesel::sql_query(query).bind::<Text, _>(account);
    let row: Option<Written> = row.get_result(&mut conn).await.optional()?;
    Ok(row.map(|row| row.at.and_utc()))
}

lookup! {
    Shown { &'a str => Text }
    "SELECT \"stripeAccountId\" AS id, \"status\"::text AS status, \"canSell\" AS can_sell \
     FROM \"HostOnboarding\" WHERE \"stripeAccountId\" = ANY(" ")"
}

#[derive(QueryableByName)]
struct ShownRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Bool)]
    can_sell: bool,
}

/// What the rows of accounts show now, by account.
pub(super) async fn shown(
    tx: &WriteTx<'_>,
    accounts: &[&str],
) -> Result<BTreeMap<String, HostBefore>> {
    if accounts.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut conn: &Connection = tx;
    let rows: Vec<ShownRow> = Shown(accounts).load(&mut conn).await?;
    let shown = rows.into_iter().map(|row| {
        let before = HostBefore {
            status: row.status,
            can_sell: row.can_sell,
        };
        (row.id, before)
    });
    Ok(shown.collect())
}

lookup! {
    LockFree { &'a str => Text }
    "SELECT \"stripeAccountId\" AS id FROM \"HostOnboarding\" WHERE \"stripeAccountId\" = ANY("
    ") FOR UPDATE SKIP LOCKED"
}

lookup! {
    Known { &'a str => Text }
    "SELECT \"stripeAccountId\" AS id FROM \"HostOnboarding\" WHERE \"stripeAccountId\" = ANY("
    ")"
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = Text)]
    id: String,
}

/// Of the accounts that have a row, those whose row somebody else has locked. The other
/// rows are locked then.
pub(super) async fn locked(tx: &WriteTx<'_>, accounts: &[&str]) -> Result<BTreeSet<String>> {
    if accounts.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut conn: &Connection = tx;
    let known: Vec<Id> = Known(accounts).load(&mut conn).await?;
    let free: Vec<Id> = LockFree(accounts).load(&mut conn).await?;
    let free: BTreeSet<String> = free.into_iter().map(|row| row.id).collect();
    let ids = known.into_iter().map(|row| row.id);
    Ok(ids.filter(|id| !free.contains(id)).collect())
}

/// A list as Postgres writes it. Arrays of arrays must be of one length, so the
/// lists of several rows cannot be sent as an array.
fn array(values: &[String]) -> String {
    let quoted: Vec<String> = values
        .iter()
        .map(|value| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
        .collect();
    format!("{{{}}}", quoted.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_quoted_whatever_it_holds() {
        let values = ["a", "with \"quotes\"", "back\\slash", "{,}", "", "NULL"].map(String::from);
        assert_eq!(
            array(&values),
            r#"{"a","with \"quotes\"","back\\slash","{,}","","NULL"}"#
        );
        assert_eq!(array(&[]), "{}");
    }
}
