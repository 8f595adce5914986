//! `stripe.account`: what a later event may still need to know of a connected account.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, QueryDsl,
    sql_types::{Array, BigInt, Bool, Jsonb, Nullable, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use domain::{
    account::{Account, Changed, LatestSnapshots},
    connections::Connections,
    decode::moment,
    ids::AccountId,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    Connection, Result, WriteTx,
    record::{Upsert, by_ids, record},
    schema::account,
};

record! {
    /// A row of `stripe.account`.
    #[derive(diesel::Queryable)]
    struct Row in "stripe.account" {
        key { id: String => Text = "id", }
        latest: Option<Value> => Nullable<Jsonb> = "latest_snapshots",
        snapshot_event: Option<String> => Nullable<Text> = "snapshot_event_id",
        is_tied: bool => Bool = "tied",
        needs_api: bool => Bool = "api_needed",
        connections: Option<Value> => Nullable<Jsonb> = "connections",
        deauthorized: Option<DateTime<Utc>> => Nullable<Timestamptz> = "deauthorized_at",
        connected: Option<DateTime<Utc>> => Nullable<Timestamptz> = "connected_at",
        first_event: Option<DateTime<Utc>> => Nullable<Timestamptz> = "first_event_at",
        host_id: Option<String> => Nullable<Text> = "host_id",
        changed: Option<DateTime<Utc>> => Nullable<Timestamptz> = "changed_at",
        is_changed_read: bool => Bool = "changed_read",
    }
    on update "updated_at = now()"
}

impl Row {
    fn new(id: &AccountId, account: &Account) -> Self {
        let winner = account.winner();
        let latest = account.latest.as_ref();
        let host_id = winner
            .as_ref()
            .and_then(|winner| winner.snapshot.host_id.as_deref());
        Self {
            id: id.to_string(),
            latest: latest.and_then(|latest| serde_json::to_value(latest).ok()),
            snapshot_event: winner
                .as_ref()
                .and_then(|winner| winner.event_id.map(str::to_owned)),
            is_tied: winner.is_some_and(|winner| winner.is_tied),
            needs_api: account.needs_api(),
            connections: (!account.connections.is_empty())
                .then(|| serde_json::to_value(&account.connections).ok())
                .flatten(),
            deauthorized: account.connections.newest_deauthorized().map(moment),
            connected: account.connected().map(moment),
            first_event: account.first_event.map(moment),
            host_id: host_id.map(str::to_owned),
            changed: account.changed.map(|changed| moment(changed.created)),
            is_changed_read: account.changed.is_some_and(|changed| changed.is_read),
        }
    }

    fn account(&self) -> Result<Account> {
        let seconds = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp());
        let latest = self.latest.as_ref().map(LatestSnapshots::deserialize);
        let connections = self.connections.as_ref().map(Connections::deserialize);
        Ok(Account {
            latest: latest.transpose()?,
            connections: connections.transpose()?.unwrap_or_default(),
            first_event: seconds(self.first_event),
            changed: seconds(self.changed).map(|created| Changed {
                created,
                is_read: self.is_changed_read,
            }),
        })
    }
}

by_ids!(Row);

/// The accounts named.
pub(crate) async fn load(
    conn: &Connection,
    ids: &[AccountId],
) -> Result<BTreeMap<AccountId, Account>> {
    let ids: Vec<&str> = ids.iter().map(AccountId::as_str).collect();
    let rows: Vec<Row> = by_ids(conn, &ids).await?;
    let accounts = rows
        .iter()
        .map(|row| Ok((row.id.as_str().into(), row.account()?)));
    accounts.collect()
}

/// The next accounts after `after` of which only the API can tell how they are, by id and
/// at most `limit`; see [`Account::needs_api`].
pub async fn needing_api(mut conn: &Connection, after: &str, limit: i64) -> Result<Vec<AccountId>> {
    let ids: Vec<String> = account::table
        .filter(account::api_needed)
        .filter(account::id.gt(after))
        .order(account::id)
        .limit(limit)
        .select(account::id)
        .load(&mut conn)
        .await?;
    Ok(ids.into_iter().map(AccountId::from).collect())
}

/// The accounts whose latest snapshot names this host, by id and at most `limit`.
pub async fn of_host(mut conn: &Connection, host: &str, limit: i64) -> Result<Vec<AccountId>> {
    let ids: Vec<String> = account::table
        .filter(account::host_id.eq(host))
        .order(account::id)
        .limit(limit)
        .select(account::id)
        .load(&mut conn)
        .await?;
    Ok(ids.into_iter().map(AccountId::from).collect())
}

/// A host of which no command knows, and the accounts that name it.
#[derive(Clone, Debug, diesel::QueryableByName)]
pub struct NamedHost {
    /// The host's id in the main app.
    #[diesel(sql_type = Text)]
    pub host: String,
    /// The accounts, by id.
    #[diesel(sql_type = Array<Text>)]
    pub accounts: Vec<String>,
}

/// The hosts after `after` that accounts name and of which nothing is noted, by id and at most
/// `limit`. An account that is noted for another host is left out, whatever it says.
pub async fn named_hosts(mut conn: &Connection, after: &str, limit: i64) -> Result<Vec<NamedHost>> {
    let hosts = diesel::sql_query(
        "SELECT a.host_id AS host, array_agg(a.id ORDER BY a.id) AS accounts \
         FROM stripe.account a \
         WHERE a.host_id > $1 \
            AND NOT EXISTS (SELECT FROM stripe.command c WHERE c.key = 'host.onboard:' || a.host_id) \
            AND NOT EXISTS (SELECT FROM stripe.command c WHERE c.object_id = a.id AND c.state = 'done') \
         GROUP BY a.host_id ORDER BY a.host_id LIMIT $2",
    )
    .bind::<Text, _>(after)
    .bind::<BigInt, _>(limit);
    Ok(hosts.load(&mut conn).await?)
}

/// Writes accounts, new ones and known ones.
pub(crate) async fn write(tx: &WriteTx<'_>, accounts: &[(&AccountId, &Account)]) -> Result<()> {
    let rows = accounts.iter().map(|(id, account)| Row::new(id, account));
    let rows: Vec<Row> = rows.collect();
    Upsert::rows(tx, &rows).await?;
    Ok(())
}
