//! Connected accounts.

use domain::{
    account_snapshot::{AccountPatch, AccountSnapshot},
    ids::AccountId,
    rejection::Rejection,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    call::{ApiFamily, Call, IdempotencyKey},
    client::Client,
    error::ApiError,
};

/// Pages of accounts that are looked through. Accounts that were made within a day or two
/// of an interrupted request fit into some.
const MAX_PAGES: u32 = 50;

/// Why an account could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Stripe did not answer, or refused.
    #[error("Stripe's API did not give the account")]
    Api(#[from] ApiError),
    /// The answer is not an account.
    #[error("Stripe's API gave no account")]
    NoAccount,
    /// The account cannot be kept.
    #[error("the account cannot be kept: {0}")]
    Rejected(Rejection),
}

impl Client {
    /// The account as it is at Stripe now, in the shape of version 1.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn account(&self, id: &AccountId) -> Result<AccountSnapshot, ReadError> {
        let answer = self.account_object(id).await?;
        // Accounts of every version are read like an event's object.
        let patch = AccountPatch::deserialize(&answer).map_err(|_| ReadError::NoAccount)?;
        if patch.id.as_deref() != Some(id.as_str()) {
            return Err(ReadError::NoAccount);
        }
        patch.into_snapshot().map_err(ReadError::Rejected)
    }

    /// The account as Stripe answers it, in the shape of version 1.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn account_object(&self, id: &AccountId) -> Result<Value, ApiError> {
        let path = format!("/accounts/{id}");
        let call = Call::get(ApiFamily::V1, "/v1/accounts/{id}", &path, &json!({}));
        self.send(&call).await
    }

    /// Makes an account and gives back its id.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn create_account(
        &self,
        family: ApiFamily,
        parameters: Value,
        key: IdempotencyKey,
    ) -> Result<AccountId, ApiError> {
        let (endpoint, path) = match family {
            ApiFamily::V1 => ("/v1/accounts", "/accounts"),
            ApiFamily::V2 => ("/v2/core/accounts", "/core/accounts"),
        };
        let call = Call::post(family, endpoint, path, parameters).with_key(key);
        let made = self.send(&call).await?;
        account_id(&made).ok_or(ApiError::Unreadable("it has no account's id"))
    }

    /// The account of a host that was made at or after `since`, in Unix seconds, by the
    /// metadata `hostId`. Accounts of version 2 are in the same list.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn find_account(
        &self,
        host: &str,
        since: i64,
    ) -> Result<Option<AccountId>, ApiError> {
        let mut after: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut query = json!({ "created": { "gte": since }, "limit": 100 });
            if let Some(after) = &after {
                query["starting_after"] = after.as_str().into();
            }
            let call = Call::get(ApiFamily::V1, "/v1/accounts", "/accounts", &query);
            let page = self.send(&call).await?;
            let accounts = page["data"].as_array();
            let accounts = accounts.ok_or(ApiError::Unreadable("it is no list"))?;
            let found = accounts
                .iter()
                .find(|account| account["metadata"]["hostId"] == host);
            if let Some(found) = found {
                return Ok(account_id(found));
            }
            after = accounts
                .last()
                .and_then(account_id)
                .map(|id| id.to_string());
            if page["has_more"] != true || after.is_none() {
                return Ok(None);
            }
        }
        Err(ApiError::Unreadable("the list of accounts does not end"))
    }
}

fn account_id(object: &Value) -> Option<AccountId> {
    let id = object["id"].as_str()?;
    // It becomes part of a path.
    let is_plain = id
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let is_id = id.starts_with("acct_") && is_plain && id.len() <= 255;
    is_id.then(|| id.to_owned().into())
}
