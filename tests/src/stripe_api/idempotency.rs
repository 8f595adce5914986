//! Idempotency keys.
//!
//! The first version of the API keeps the first answer of a request that had
//! begun, an error with status 500 too. The second one keeps what a request has
//! done: a request that failed is carried out when it comes again.

use std::collections::HashMap;

use hyper::StatusCode;
use serde_json::Value;

use super::errors::{ApiError, INVALID_REQUEST};

/// Whose key it is: the account, the version of the API, and the key.
pub(super) type Key = (String, bool, String);

/// What is known under a key.
#[derive(Clone, Debug)]
struct Entry {
    /// The method, the path and the parameters.
    request: String,
    /// The answer, once there is one.
    answer: Option<Kept>,
}

/// An answer that is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) status: StatusCode,
    pub(super) body: Value,
    /// The request that got it first.
    pub(super) request_id: String,
}

/// All keys.
#[derive(Debug, Default)]
pub(super) struct Keys {
    entries: HashMap<Key, Entry>,
}

impl Keys {
    /// Begins a request: gives the answer that it has had already, or notes that it runs.
    pub(super) fn begin(&mut self, key: &Key, request: &str) -> Result<Option<Kept>, ApiError> {
        let Some(entry) = self.entries.get(key) else {
            let entry = Entry {
                request: request.to_owned(),
                answer: None,
            };
            self.entries.insert(key.clone(), entry);
            return Ok(None);
        };
        if entry.request != request {
            return Err(other_request(&key.2));
        }
        match &entry.answer {
            Some(kept) => Ok(Some(kept.clone())),
            None => Err(in_use(&key.2)),
        }
    }

    /// Keeps the answer; without one the key is free again.
    pub(super) fn end(&mut self, key: &Key, answer: Option<Kept>) {
        match (answer, self.entries.get_mut(key)) {
            (Some(answer), Some(entry)) => entry.answer = Some(answer),
            _ => {
                self.entries.remove(key);
            }
        }
    }
}

fn other_request(key: &str) -> ApiError {
    let message = format!(
        "Keys for idempotent requests can only be used with the same parameters they were first \
         used with. Try using a key other than '{key}' if you meant to execute a different request."
    );
    ApiError::new(StatusCode::BAD_REQUEST, "idempotency_error", message)
}

fn in_use(key: &str) -> ApiError {
    let message = format!(
        "There is currently another in-progress request using this idempotent key (that is: \
         {key}). Please try again later."
    );
    ApiError::new(StatusCode::CONFLICT, INVALID_REQUEST, message).code("idempotency_key_in_use")
}
