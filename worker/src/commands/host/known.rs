//! The account that a host has.

use domain::{account::Account, ids::AccountId, rows::HostRow};
use store::account;

use super::account_maker::AccountMaker;
use crate::{
    commands::{error::CommandError, service::CommandService},
    jobs::read_accounts,
    stripe::{call::ApiFamily, client::Client},
};

/// The most accounts of one host that are looked at.
const MOST: i64 = 10;

/// The account that a host has.
#[derive(Debug)]
pub struct Known {
    /// Its id.
    pub id: AccountId,
    /// The API that it was made by.
    pub family: ApiFamily,
    /// The hash of the command that made it; `None` where no command did.
    pub payload_hash: Option<Vec<u8>>,
    /// All that is known of it.
    pub account: Account,
}

impl Known {
    /// The row that the main app reads of it.
    pub fn row(&self) -> HostRow {
        HostRow::new(&self.id, &self.account)
    }
}

/// The key under which a host's account is made.
pub(in crate::commands) fn key(host: &str) -> String {
    format!("host.onboard:{host}")
}

impl CommandService {
    /// The account of a host that has one and did not cut the connection. One that a command
    /// made is the host's beyond doubt; else the accounts say whose they are by their
    /// metadata, and there must be one.
    ///
    /// # Errors
    /// The host has several accounts that no command made, or the database is away.
    pub(super) async fn known(&self, host: &str) -> Result<Option<Known>, CommandError> {
        let client = self.client()?;
        // That an account names the host does not say that an attempt made it: its holder may
        // have written that.
        let record = self
            .settled(&key(host), &AccountMaker { client, host })
            .await?;
        let conn = self.connection().await?;
        if let Some(record) = &record
            && let Some(id) = &record.object_id
        {
            let id = AccountId::from(id.clone());
            let account = read_accounts::load(&conn, &id).await?;
            let known = Known {
                id,
                family: ApiFamily::of(&record.api),
                payload_hash: Some(record.payload_hash.clone()),
                account,
            };
            return Ok((!known.account.is_disconnected()).then_some(known));
        }
        let mut found = Vec::new();
        for id in account::of_host(&conn, host, MOST).await? {
            let account = read_accounts::load(&conn, &id).await?;
            if !account.is_disconnected() {
                found.push((id, account));
            }
        }
        if found.len() > 1 {
            return Err(CommandError::new(
                "several_accounts",
                "several connected accounts name this host in their metadata (hostId); let one \
                 of them do so",
            )
            .at("hostId"));
        }
        let Some((id, account)) = found.pop() else {
            return Ok(None);
        };
        Ok(Some(Known {
            id,
            family: ApiFamily::V1,
            payload_hash: None,
            account,
        }))
    }

    /// The account of a host that must have one.
    ///
    /// # Errors
    /// There is none, or as [`CommandService::known`].
    pub(in crate::commands) async fn existing(&self, host: &str) -> Result<Known, CommandError> {
        self.known(host).await?.ok_or_else(|| {
            CommandError::new(
                "host_unknown",
                "the host has no connected account; host.onboard makes one",
            )
            .at("hostId")
        })
    }

    /// Has an account of which nothing is known read from Stripe, so that the main app has a
    /// row of it.
    ///
    /// # Errors
    /// Stripe or the database is away.
    pub(super) async fn read_new(
        &self,
        client: &Client,
        mut known: Known,
    ) -> Result<Known, CommandError> {
        if !known.account.has_current_snapshot() {
            let read = read_accounts::ask(&self.pool, client, &known.id).await?;
            self.telling.tell_account(read).await?;
            let conn = self.connection().await?;
            known.account = read_accounts::load(&conn, &known.id).await?;
        }
        Ok(known)
    }
}
