//! The client of Stripe's API.

use std::{fmt, time::Duration};

use ::stripe::{Client as ApiClient, ClientBuilder, StripeError};
use domain::{
    account_snapshot::{AccountPatch, AccountSnapshot},
    ids::AccountId,
    rejection::Rejection,
};
use stripe_client_core::{RequestBuilder, RequestStrategy, StripeMethod};

/// Stripe itself.
pub const DEFAULT_BASE: &str = "https://api.stripe.com/";
/// How long one attempt may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts at one answer.
const ATTEMPTS: u32 = 2;

/// How the API is reached.
#[derive(Clone)]
pub struct ApiConfig {
    /// The secret or restricted key.
    pub key: String,
    /// The URL that paths are put behind.
    pub base: String,
}

impl fmt::Debug for ApiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiConfig")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

/// Why an account could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Stripe did not answer, or refused.
    #[error("Stripe's API did not give the account")]
    Stripe(#[from] StripeError),
    /// The answer is not an account.
    #[error("Stripe's API gave no account")]
    NoAccount,
    /// The account cannot be kept.
    #[error("the account cannot be kept: {0}")]
    Rejected(Rejection),
}

/// A client of Stripe's API.
#[derive(Clone)]
pub struct Client {
    api: ApiClient,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// The base is no URL.
    pub fn new(config: &ApiConfig) -> Result<Self, StripeError> {
        let api = ClientBuilder::new(&config.key)
            .url(&config.base)
            .request_strategy(RequestStrategy::Retry(ATTEMPTS))
            .timeout(TIMEOUT)
            .build()?;
        Ok(Self { api })
    }

    /// The account as it is at Stripe now.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn account(&self, id: &AccountId) -> Result<AccountSnapshot, ClientError> {
        // The library's own type refuses accounts of other API versions, so
        // the answer is read like an event's object.
        let answer = RequestBuilder::new(StripeMethod::Get, format!("/accounts/{id}"))
            .customize::<miniserde::json::Value>()
            .send(&self.api)
            .await?;
        let json = miniserde::json::to_string(&answer);
        let patch: AccountPatch =
            serde_json::from_str(&json).map_err(|_| ClientError::NoAccount)?;
        if patch.id.as_deref() != Some(id.as_str()) {
            return Err(ClientError::NoAccount);
        }
        patch.into_snapshot().map_err(ClientError::Rejected)
    }
}
