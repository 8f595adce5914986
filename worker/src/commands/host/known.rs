//! The account that a host has.

use domain::{account::Account, ids::AccountId, rows::HostRow};
use store::{Connection, account};

use super::account_maker::AccountMaker;
use crate::{
    commands::{error::CommandError, service::CommandService},
    config::commands::HostMetadata,
    jobs::read_accounts,
    stripe::{call::ApiFamily, client::Client},
};

/// The most accounts that name one host that are looked at.
const MOST: i64 = 10;

/// The account that a host has.
#[derive(Debug)]
pub struct Known {
    /// Its id.
    pub id: AccountId,
    /// The API that it was made by.
    pub family: ApiFamily,
    /// The hash of the command that made it; `None` where an operator noted it.
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

/// The key under which a host's account is noted.
pub fn key(host: &str) -> String {
    format!("host.onboard:{host}")
}

/// The host whose account is noted under this key.
pub fn host_of_key(key: &str) -> Option<&str> {
    key.strip_prefix("host.onboard:")
}

impl CommandService {
    /// The account of a host that has one and did not cut the connection.
    ///
    /// # Errors
    /// As [`CommandService::noted`].
    pub(super) async fn known(&self, host: &str) -> Result<Option<Known>, CommandError> {
        let known = self.noted(host).await?;
        Ok(known.filter(|known| !known.account.is_disconnected()))
    }

    /// The account that is noted as the host's, connected or not: a command made it, or an
    /// operator has said so. That an account names the host in its metadata does not make it
    /// the host's, nor does it say that an attempt made it: its holder may have written that.
    ///
    /// # Errors
    /// Nothing is noted of the host, and a connected account names it. Or the database is away.
    pub(in crate::commands) async fn noted(
        &self,
        host: &str,
    ) -> Result<Option<Known>, CommandError> {
        let client = self.client()?;
        let record = self
            .settled(&key(host), &AccountMaker { client, host })
            .await?;
        let conn = self.connection().await?;
        let Some(record) = record else {
            return match self.settings.host_metadata {
                HostMetadata::Ignore => Ok(None),
                HostMetadata::Confirm => check_unnamed(&conn, host).await.map(|()| None),
            };
        };
        let Some(id) = record.object_id.clone().map(AccountId::from) else {
            return Ok(None);
        };
        let account = read_accounts::load(&conn, &id).await?;
        Ok(Some(Known {
            id,
            family: ApiFamily::of(&record.api),
            // No command asked for one that an operator noted.
            payload_hash: Some(record.payload_hash).filter(|hash| !hash.is_empty()),
            account,
        }))
    }

    /// The account of a host that must have one.
    ///
    /// # Errors
    /// There is none, or as [`CommandService::known`].
    pub(in crate::commands) async fn existing(&self, host: &str) -> Result<Known, CommandError> {
        self.known(host).await?.ok_or_else(unknown)
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
        if known.account.has_current_snapshot() {
            return Ok(known);
        }
        let read = read_accounts::ask(&self.pool, client, &known.id).await?;
        self.telling.tell_account(read).await?;
        let conn = self.connection().await?;
        known.account = read_accounts::load(&conn, &known.id).await?;
        Ok(known)
    }
}

/// The refusal of a host that has no account.
pub(in crate::commands) fn unknown() -> CommandError {
    CommandError::new(
        "host_unknown",
        "the host has no connected account; host.onboard makes one",
    )
    .at("hostId")
}

/// Refuses a host of which nothing is noted while a connected account names it. It may be the
/// host's, from before there were commands, and another one must not be made; or somebody
/// else's, and must not be used.
async fn check_unnamed(conn: &Connection, host: &str) -> Result<(), CommandError> {
    let mut naming = Vec::new();
    for id in account::of_host(conn, host, MOST).await? {
        if !read_accounts::load(conn, &id).await?.is_disconnected() {
            naming.push(id.to_string());
        }
    }
    if naming.is_empty() {
        return Ok(());
    }
    let error = CommandError::new(
        "host_account_unconfirmed",
        "an account that no command made names this host in its metadata (hostId); an operator \
         says whether it is the host's: worker hosts adopt, or HOST_METADATA=ignore",
    );
    Err(error.at("hostId").with("accounts", naming.into()))
}
