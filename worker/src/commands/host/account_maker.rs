//! What Stripe is asked to make a host's account, and to find one that it made.

use domain::{ids::AccountId, rules::ATTEMPT_KEY};
use serde_json::Value;
use store::command::Record;
use tracing::warn;

use crate::{
    commands::{attempts::Maker, error::CommandError, service::CommandService},
    jobs::read_accounts::{self, ReadError},
    stripe::{
        accounts::ReadError as AccountError,
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

    async fn look(
        &self,
        _: &Record,
        mark: Option<&str>,
        since: i64,
    ) -> Result<Option<String>, ApiError> {
        let (key, value) = match mark {
            Some(mark) => (ATTEMPT_KEY, mark),
            None => ("hostId", self.host),
        };
        let found = self.client.find_account(key, value, since).await?;
        Ok(found.map(|id| id.to_string()))
    }

    /// Has the account read, so that the main app has a row of it. One that has left since is not
    /// read any more.
    async fn made(&self, service: &CommandService, id: &str) -> Result<(), CommandError> {
        let id = AccountId::from(id.to_owned());
        let known = {
            let conn = service.connection().await?;
            read_accounts::load(&conn, &id).await?
        };
        if known.has_current_snapshot() || known.is_disconnected() {
            return Ok(());
        }
        match read_accounts::ask(&service.pool, self.client, &id).await {
            Ok(read) => service.telling.tell_account(read).await,
            Err(ReadError::Client(AccountError::Api(ApiError::Refused(refusal))))
                if refusal.has_code("account_invalid") =>
            {
                warn!(%refusal, "an account was made, and left before it was read");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn refused(&self, record: &Record, refusal: Refusal) -> CommandError {
        let is_v2 = ApiFamily::of(&record.api) == ApiFamily::V2;
        // A restricted key that lacks the right lacks it in version 1 as well.
        let lacks_right = [&refusal.code, &refusal.kind]
            .into_iter()
            .flatten()
            .any(|word| word.contains("permission"));
        let is_missing = is_v2 && !lacks_right && matches!(refusal.status, 403 | 404);
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
