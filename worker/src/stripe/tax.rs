//! What a connected account has set up for taxes.

use domain::ids::AccountId;
use serde_json::{Value, json};

use super::{
    call::{ApiFamily, Call},
    client::Client,
    error::ApiError,
};

impl Client {
    /// The tax settings of an account, as Stripe answers them.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn tax_settings(&self, account: &AccountId) -> Result<Value, ApiError> {
        let call = Call::get(
            ApiFamily::V1,
            "/v1/tax/settings",
            "/tax/settings",
            &json!({}),
        );
        self.send(&call.of_account(account)).await
    }

    /// Whether the account has an active tax registration.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn has_tax_registration(&self, account: &AccountId) -> Result<bool, ApiError> {
        let query = json!({ "status": "active", "limit": 1 });
        let path = "/tax/registrations";
        let call = Call::get(ApiFamily::V1, "/v1/tax/registrations", path, &query);
        let list = self.send(&call.of_account(account)).await?;
        let registrations = list["data"].as_array();
        let registrations = registrations.ok_or(ApiError::Unreadable("it is no list"))?;
        Ok(!registrations.is_empty())
    }
}
