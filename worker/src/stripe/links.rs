//! Ways for a host to Stripe's pages and forms. What is answered here lets whoever has it
//! act as the host, so none of it is logged or kept.

use chrono::{DateTime, Utc};
use domain::ids::AccountId;
use serde_json::{Map, Value, json};

use super::{
    accounts::account_path,
    call::{ApiFamily, Call},
    client::Client,
    error::ApiError,
};

/// A link to Stripe's onboarding form. It can be used once, for some minutes.
#[derive(Clone, PartialEq, Eq)]
pub struct AccountLink {
    /// The address.
    pub url: String,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

/// The secret by which a page of the main app shows Stripe's embedded components.
#[derive(Clone, PartialEq, Eq)]
pub struct AccountSession {
    /// The secret.
    pub client_secret: String,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

impl Client {
    /// Makes a link to the onboarding form of an account. `family` is the API that the
    /// account was made by.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn account_link(
        &self,
        family: ApiFamily,
        account: &AccountId,
        refresh_url: &str,
        return_url: &str,
    ) -> Result<AccountLink, ApiError> {
        let call = match family {
            ApiFamily::V1 => Call::post(
                family,
                "/v1/account_links",
                "/account_links",
                json!({
                    "account": account.as_str(), "type": "account_onboarding",
                    "refresh_url": refresh_url, "return_url": return_url,
                }),
            ),
            ApiFamily::V2 => Call::post(
                family,
                "/v2/core/account_links",
                "/core/account_links",
                json!({
                    "account": account.as_str(),
                    "use_case": {
                        "type": "account_onboarding",
                        "account_onboarding": { "refresh_url": refresh_url, "return_url": return_url },
                    },
                }),
            ),
        };
        let answer = self.send(&call).await?;
        Ok(AccountLink {
            url: text(&answer, "url")?,
            expires_at: moment(&answer["expires_at"])?,
        })
    }

    /// Makes a session for embedded components, by Stripe's names of them.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn account_session(
        &self,
        account: &AccountId,
        components: &[&str],
    ) -> Result<AccountSession, ApiError> {
        let enabled = |name: &&str| ((*name).to_owned(), json!({ "enabled": true }));
        let components: Map<String, Value> = components.iter().map(enabled).collect();
        let parameters = json!({ "account": account.as_str(), "components": components });
        let call = Call::post(
            ApiFamily::V1,
            "/v1/account_sessions",
            "/account_sessions",
            parameters,
        );
        let answer = self.send(&call).await?;
        Ok(AccountSession {
            client_secret: text(&answer, "client_secret")?,
            expires_at: moment(&answer["expires_at"])?,
        })
    }

    /// Makes a link that logs a host in to the Express dashboard.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn login_link(&self, account: &AccountId) -> Result<String, ApiError> {
        let path = format!("{}/login_links", account_path(account)?);
        let endpoint = "/v1/accounts/{id}/login_links";
        let call = Call::post(ApiFamily::V1, endpoint, &path, json!({}));
        text(&self.send(&call).await?, "url")
    }
}

fn text(answer: &Value, field: &str) -> Result<String, ApiError> {
    let text = answer[field].as_str().map(str::to_owned);
    text.ok_or(ApiError::Unreadable("a text is missing"))
}

/// A time of either version: Unix seconds, or RFC 3339.
fn moment(value: &Value) -> Result<DateTime<Utc>, ApiError> {
    let moment = match value {
        Value::Number(seconds) => seconds
            .as_i64()
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    moment.ok_or(ApiError::Unreadable("a time is missing"))
}
