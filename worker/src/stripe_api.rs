//! Stripe's API, which is asked only where events cannot tell.

use std::{fmt, time::Duration};

use stripe::{Client, ClientBuilder, StripeError};
use stripe_client_core::{RequestBuilder, RequestStrategy, StripeMethod};

use crate::events::{
    rejection::Rejection,
    snapshot::{AccountPatch, Snapshot},
};

/// Stripe itself.
pub const DEFAULT_BASE: &str = "https://api.stripe.com/";
/// How long one attempt may take. The account is locked meanwhile.
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
pub enum ApiError {
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
pub struct Api {
    client: Client,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

impl Api {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// The base is no URL.
    pub fn new(config: &ApiConfig) -> Result<Self, StripeError> {
        let client = ClientBuilder::new(&config.key)
            .url(&config.base)
            .request_strategy(RequestStrategy::Retry(ATTEMPTS))
            .timeout(TIMEOUT)
            .build()?;
        Ok(Self { client })
    }

    /// The account as it is at Stripe now.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn account(&self, id: &str) -> Result<Snapshot, ApiError> {
        // The library's own type refuses accounts of other API versions, so
        // the answer is read like an event's object.
        let answer = RequestBuilder::new(StripeMethod::Get, format!("/accounts/{id}"))
            .customize::<miniserde::json::Value>()
            .send(&self.client)
            .await?;
        let json = miniserde::json::to_string(&answer);
        let patch: AccountPatch = serde_json::from_str(&json).map_err(|_| ApiError::NoAccount)?;
        if patch.id.as_deref() != Some(id) {
            return Err(ApiError::NoAccount);
        }
        patch.into_snapshot().map_err(ApiError::Rejected)
    }
}
