//! Checkout Sessions on the account of a host.

use domain::ids::AccountId;
use serde_json::{Value, json};

use super::{
    call::{ApiFamily, Call, IdempotencyKey},
    client::Client,
    error::ApiError,
};

/// Pages of sessions that are looked through: what a host sells within a day or two.
const MAX_PAGES: u32 = 50;

impl Client {
    /// Makes a session, and gives back its id.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn create_session(
        &self,
        account: &AccountId,
        parameters: Value,
        key: IdempotencyKey,
    ) -> Result<String, ApiError> {
        let endpoint = "/v1/checkout/sessions";
        let call = Call::post(ApiFamily::V1, endpoint, "/checkout/sessions", parameters);
        let made = self.send(&call.of_account(account).with_key(key)).await?;
        id(&made).ok_or(ApiError::Unreadable("it has no session's id"))
    }

    /// The session as Stripe answers it now.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn session(&self, account: &AccountId, session: &str) -> Result<Value, ApiError> {
        let path = format!("/checkout/sessions/{session}");
        let endpoint = "/v1/checkout/sessions/{id}";
        let call = Call::get(ApiFamily::V1, endpoint, &path, &json!({}));
        self.send(&call.of_account(account)).await
    }

    /// Ends an open session, and gives it back as it is then. To do so twice is refused, and
    /// harms nothing.
    ///
    /// # Errors
    /// [`ApiError`]: refused where it is no longer open.
    pub async fn expire_session(
        &self,
        account: &AccountId,
        session: &str,
    ) -> Result<Value, ApiError> {
        let path = format!("/checkout/sessions/{session}/expire");
        let endpoint = "/v1/checkout/sessions/{id}/expire";
        let call = Call::post(ApiFamily::V1, endpoint, &path, json!({}));
        self.send(&call.of_account(account)).await
    }

    /// The session of a booking that was made at or after `since`, in Unix seconds, by the
    /// metadata's `key`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn find_session(
        &self,
        account: &AccountId,
        key: &str,
        booking: &str,
        since: i64,
    ) -> Result<Option<String>, ApiError> {
        let mut after: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut query = json!({ "created": { "gte": since }, "limit": 100 });
            if let Some(after) = &after {
                query["starting_after"] = after.as_str().into();
            }
            let endpoint = "/v1/checkout/sessions";
            let call = Call::get(ApiFamily::V1, endpoint, "/checkout/sessions", &query);
            let page = self.send(&call.of_account(account)).await?;
            let sessions = page["data"].as_array();
            let sessions = sessions.ok_or(ApiError::Unreadable("it is no list"))?;
            // The newest come first.
            let found = sessions.iter().find(|one| one["metadata"][key] == booking);
            if let Some(found) = found {
                return Ok(id(found));
            }
            after = sessions.last().and_then(id);
            if page["has_more"] != true || after.is_none() {
                return Ok(None);
            }
        }
        Err(ApiError::Unreadable("the list of sessions does not end"))
    }

    /// The status of a payment intent, such as `processing`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn payment_status(
        &self,
        account: &AccountId,
        payment_intent: &str,
    ) -> Result<String, ApiError> {
        let path = format!("/payment_intents/{payment_intent}");
        let endpoint = "/v1/payment_intents/{id}";
        let call = Call::get(ApiFamily::V1, endpoint, &path, &json!({}));
        let answer = self.send(&call.of_account(account)).await?;
        let status = answer["status"].as_str().map(str::to_owned);
        status.ok_or(ApiError::Unreadable("it has no status"))
    }
}

/// The id of a session. It becomes part of a path.
fn id(object: &Value) -> Option<String> {
    let id = object["id"].as_str()?;
    let is_plain = id
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (id.starts_with("cs_") && is_plain && id.len() <= 255).then(|| id.to_owned())
}
