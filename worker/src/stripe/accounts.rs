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
    error::{ApiError, Refusal},
    list::{List, PAGES_OF_MADE, Page, is_id, object_id},
};

/// How the ids of accounts begin.
const PREFIX: &str = "acct_";

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
        snapshot(id, &self.account_object(id).await?)
    }

    /// The account as Stripe answers it, in the shape of version 1.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn account_object(&self, id: &AccountId) -> Result<Value, ApiError> {
        let path = account_path(id)?;
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

    /// The account that was made at or after `since`, in Unix seconds, and whose metadata have
    /// this `value` under this `key`. Accounts of version 2 are in the same list.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn find_account(
        &self,
        key: &str,
        value: &str,
        since: i64,
    ) -> Result<Option<AccountId>, ApiError> {
        let list = list(Some(since));
        let found = self.find(&list, |account| account["metadata"][key] == value);
        Ok(found.await?.map(AccountId::from))
    }

    /// A page of all accounts that are connected to the platform, behind the account `after`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn accounts(&self, after: Option<&str>) -> Result<Page, ApiError> {
        self.page(&list(None), after).await
    }
}

fn list(since: Option<i64>) -> List<'static> {
    List {
        endpoint: "/v1/accounts",
        path: "/accounts",
        account: None,
        prefix: PREFIX,
        since,
        status: None,
        pages: PAGES_OF_MADE,
    }
}

/// What is kept of an account as Stripe answers it, of every version like an event's object.
///
/// # Errors
/// It is not this account, or cannot be kept.
pub fn snapshot(id: &AccountId, answer: &Value) -> Result<AccountSnapshot, ReadError> {
    let patch = AccountPatch::deserialize(answer).map_err(|_| ReadError::NoAccount)?;
    if patch.id.as_deref() != Some(id.as_str()) {
        return Err(ReadError::NoAccount);
    }
    patch.into_snapshot().map_err(ReadError::Rejected)
}

/// Whether the holder of an account can write its metadata: one that has the full Dashboard has
/// API keys of its own. Where the answer does not say, it can.
pub fn is_written_by_holder(answer: &Value) -> bool {
    let kind = answer["type"].as_str();
    let dashboard = answer["controller"]["stripe_dashboard"]["type"].as_str();
    match (kind, dashboard) {
        (Some("standard") | None, _) | (_, Some("full")) => true,
        (Some("express" | "custom"), _) => false,
        (Some(_), dashboard) => dashboard.is_none(),
    }
}

/// The path of an account. An id that is none of Stripe's would be another path.
pub(super) fn account_path(id: &AccountId) -> Result<String, ApiError> {
    match is_id(id.as_str(), PREFIX) {
        true => Ok(format!("/accounts/{id}")),
        false => Err(ApiError::Refused(Refusal {
            status: 404,
            code: Some("resource_missing".into()),
            ..Refusal::default()
        })),
    }
}

fn account_id(object: &Value) -> Option<AccountId> {
    object_id(object, PREFIX).map(AccountId::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_none_of_stripes_makes_no_path() {
        let path = |id: &str| account_path(&id.to_owned().into());
        assert_eq!(path("acct_1AbC").unwrap(), "/accounts/acct_1AbC");
        let long = format!("acct_{}", "a".repeat(255));
        for wrong in [
            "",
            "acct_1/login_links",
            "acct_1?expand[]=x",
            "acct_1/../../v2",
            "acct_1 2",
            "acct_\0",
            "cus_1",
            &long,
        ] {
            assert!(path(wrong).is_err(), "{wrong:.40}");
            assert_eq!(account_id(&json!({ "id": wrong })), None, "{wrong:.40}");
        }
        for strange in [json!(null), json!([]), json!({ "id": { "id": "acct_1" } })] {
            assert_eq!(account_id(&strange), None);
        }
    }
}
