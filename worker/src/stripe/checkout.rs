//! Checkout Sessions on the account of a host.

use domain::ids::AccountId;
use serde_json::{Value, json};

use super::{
    call::{ApiFamily, Call, IdempotencyKey},
    client::Client,
    error::ApiError,
    list::{List, PAGES_OF_MADE, is_id, object_id},
};

/// How the ids of sessions begin.
const PREFIX: &str = "cs_";
/// Pages of an account's open sessions that are read before another one is made. A Standard host
/// can have any number of them, and each page is a read of the platform's.
const PAGES_OF_OPEN: u32 = 5;

impl Client {
    /// Makes a session, and returns its id.
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
        object_id(&made, PREFIX).ok_or(ApiError::Unreadable("it has no session's id"))
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

    /// The session that was made at or after `since`, in Unix seconds, and whose metadata have
    /// this `value` under this `key`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn find_session(
        &self,
        account: &AccountId,
        key: &str,
        value: &str,
        since: i64,
    ) -> Result<Option<String>, ApiError> {
        let list = List {
            pages: PAGES_OF_MADE,
            ..sessions(account, since)
        };
        self.find(&list, |session| session["metadata"][key] == value)
            .await
    }

    /// The newest open sessions that were made at or after `since`, in Unix seconds, and each of
    /// which `is_it`, at most so many.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn open_sessions(
        &self,
        account: &AccountId,
        since: i64,
        is_it: impl Fn(&Value) -> bool,
        most: usize,
    ) -> Result<Vec<String>, ApiError> {
        let list = List {
            status: Some("open"),
            pages: PAGES_OF_OPEN,
            ..sessions(account, since)
        };
        self.find_some(&list, is_it, most).await
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
        if !is_id(payment_intent, "pi_") {
            return Err(ApiError::Unreadable("a session has no payment intent"));
        }
        let path = format!("/payment_intents/{payment_intent}");
        let endpoint = "/v1/payment_intents/{id}";
        let call = Call::get(ApiFamily::V1, endpoint, &path, &json!({}));
        let answer = self.send(&call.of_account(account)).await?;
        let status = answer["status"].as_str().map(str::to_owned);
        status.ok_or(ApiError::Unreadable("it has no status"))
    }
}

/// The sessions of the account; none of its pages is read before it is said how many.
fn sessions(account: &AccountId, since: i64) -> List<'_> {
    List {
        endpoint: "/v1/checkout/sessions",
        path: "/checkout/sessions",
        account: Some(account),
        prefix: PREFIX,
        since: Some(since),
        status: None,
        pages: 0,
    }
}
