//! The accounts of a host: the one that it has, and those that it had before.

use domain::{ids::AccountId, ownership::Owner, rows::HostRow};
use store::{
    Connection, account,
    command::{self, Record},
};

use super::session;
use crate::{
    commands::{error::CommandError, host::known, service::CommandService},
    jobs::read_accounts,
};

/// The most earlier accounts of one host.
const MOST_ACCOUNTS: i64 = 10;

impl CommandService {
    /// The host's account `now` and the earlier ones of the same host: those that name it, that
    /// are not Standard ones, since their holders can write whose they are, and that are not
    /// noted as another host's.
    pub(super) async fn accounts_of(
        &self,
        host: &str,
        now: Option<&AccountId>,
    ) -> Result<Vec<AccountId>, CommandError> {
        let mut accounts: Vec<AccountId> = now.cloned().into_iter().collect();
        let conn = self.connection().await?;
        let key = known::key(host);
        for id in account::of_host(&conn, host, MOST_ACCOUNTS).await? {
            if accounts.contains(&id) {
                continue;
            }
            let noted = command::key_of(&conn, id.as_str()).await?;
            let named = named_by_us(&conn, &id).await?;
            if named.is_some() && noted.is_none_or(|noted| noted == key) {
                accounts.push(id);
            }
        }
        Ok(accounts)
    }

    /// The accounts by which the booking of this session may have been paid: the session's, the
    /// one that has the booking by the deployment's query, and those of the host of either.
    pub(super) async fn accounts_of_session(
        &self,
        owner: Option<&Owner>,
        record: &Record,
    ) -> Result<Vec<AccountId>, CommandError> {
        let mut accounts = vec![session::account(record)];
        if let Some(Owner::Account(owner)) = owner
            && !accounts.contains(owner)
        {
            accounts.push(owner.clone());
        }
        for account in accounts.clone() {
            let Some(host) = self.host_of(&account).await? else {
                continue;
            };
            let now = {
                let conn = self.connection().await?;
                command::find(&conn, &known::key(&host)).await?
            };
            let now = now.and_then(|record| record.object_id).map(AccountId::from);
            for id in self.accounts_of(&host, now.as_ref()).await? {
                if !accounts.contains(&id) {
                    accounts.push(id);
                }
            }
        }
        Ok(accounts)
    }

    /// The host of an account: the one for which it is noted, or which it names where its
    /// holder cannot write that.
    async fn host_of(&self, id: &AccountId) -> Result<Option<String>, CommandError> {
        let conn = self.connection().await?;
        let noted = command::key_of(&conn, id.as_str()).await?;
        let noted = noted.and_then(|key| known::host_of_key(&key).map(str::to_owned));
        if noted.is_some() {
            return Ok(noted);
        }
        Ok(named_by_us(&conn, id).await?)
    }
}

/// The host that an account names, where its holder cannot have written that.
async fn named_by_us(conn: &Connection, id: &AccountId) -> store::Result<Option<String>> {
    let row = HostRow::new(id, &read_accounts::load(conn, id).await?);
    let is_written_by_us = row.account_type.is_some_and(|kind| kind != "standard");
    Ok(row.host_id.filter(|_| is_written_by_us))
}
