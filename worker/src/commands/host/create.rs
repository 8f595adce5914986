//! Making a host's account, once.

use serde_json::Value;
use store::command::{self, Record, State};

use super::{
    account_request,
    known::{self, Known},
    onboard::Onboard,
};
use crate::{
    commands::{
        attempts::{Maker, Wanted},
        error::CommandError,
        service::CommandService,
    },
    jobs::read_accounts,
    stripe::{
        call::{ApiFamily, IdempotencyKey},
        client::Client,
        error::{ApiError, Refusal},
    },
};

/// Makes accounts.
pub(in crate::commands) struct AccountMaker<'a> {
    pub(in crate::commands) client: &'a Client,
    /// The host's id in the main app.
    pub(in crate::commands) host: &'a str,
}

impl Maker for AccountMaker<'_> {
    async fn make(
        &self,
        record: &Record,
        request: Value,
        key: IdempotencyKey,
    ) -> Result<String, ApiError> {
        let family = ApiFamily::of(&record.api);
        let made = self.client.create_account(family, request, key).await?;
        Ok(made.to_string())
    }

    async fn look(&self, _: &Record, since: i64) -> Result<Option<String>, ApiError> {
        let found = self.client.find_account(self.host, since).await?;
        Ok(found.map(|id| id.to_string()))
    }

    fn refused(&self, record: &Record, refusal: Refusal) -> CommandError {
        let is_v2 = ApiFamily::of(&record.api) == ApiFamily::V2;
        let is_missing = is_v2 && matches!(refusal.status, 403 | 404);
        if is_missing || refusal.has_code("accounts_v2_access_blocked") {
            return CommandError::new(
                "accounts_v2_unavailable",
                "this platform may not make accounts by Stripe's version 2: set \
                 STRIPE_ACCOUNTS_API=v1",
            );
        }
        ApiError::Refused(refusal).into()
    }
}

impl CommandService {
    /// Makes the account of a host who has none.
    pub(super) async fn create(
        &self,
        client: &Client,
        onboard: &Onboard,
    ) -> Result<Known, CommandError> {
        let key = known::key(&onboard.host);
        let request = account_request::parameters(onboard, &self.settings)?;
        // An account that was made, and yet the host has none: the host has left it.
        let over = {
            let conn = self.connection().await?;
            command::find(&conn, &key).await?
        };
        let over = over.filter(|record| record.state() == State::Done);
        let wanted = Wanted {
            key: &key,
            payload_hash: onboard.payload_hash(),
            family: self.settings.accounts_api.family(),
            account: None,
            request: &request,
            over: match &over {
                Some(record) => self.is_left(record).await?.then_some(record.attempt),
                None => None,
            },
        };
        let maker = AccountMaker {
            client,
            host: &onboard.host,
        };
        let record = self.make_once(&wanted, &maker).await?;
        let id = record.object_id.clone().unwrap_or_default().into();
        let conn = self.connection().await?;
        let account = read_accounts::load(&conn, &id).await?;
        Ok(Known {
            id,
            family: ApiFamily::of(&record.api),
            payload_hash: Some(record.payload_hash),
            account,
        })
    }

    async fn is_left(&self, record: &Record) -> Result<bool, CommandError> {
        let Some(id) = &record.object_id else {
            return Ok(false);
        };
        let conn = self.connection().await?;
        let account = read_accounts::load(&conn, &id.clone().into()).await?;
        Ok(account.is_disconnected())
    }
}
