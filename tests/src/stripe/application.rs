//! The application: what `account.application.deauthorized` is about.

use serde_json::{Value, json};

/// The platform's application. It does not say which account has left: only the
/// event's `account` does.
#[must_use]
pub fn application() -> Value {
    json!({ "id": "ca_DialoomSamplePlatform", "object": "application", "name": "Dialoom" })
}
