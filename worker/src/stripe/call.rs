//! One request to Stripe's API, as data.

use domain::ids::AccountId;
use hyper::Method;
use serde_json::{Map, Value};
use stripe_client_core::{RequestBuilder, StripeMethod};

/// An idempotency key. Stripe keeps the first answer under it: for a day in its version 1,
/// for 30 days in its version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(pub String);

impl IdempotencyKey {
    /// A new one.
    pub fn generate() -> Self {
        Self(format!("dialoom-{:032x}", fastrand::u128(..)))
    }
}

/// Which of Stripe's two APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiFamily {
    /// `/v1/...`: bodies are forms.
    V1,
    /// `/v2/...`: bodies are JSON.
    V2,
}

impl ApiFamily {
    /// Reads what [`ApiFamily::as_str`] wrote.
    pub fn of(stored: &str) -> Self {
        match stored {
            "v1" => Self::V1,
            _ => Self::V2,
        }
    }

    /// As it is stored: `v1` or `v2`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Call {
    /// What the endpoint is called in metrics and in the log, and by which its rate is
    /// limited: a path without ids.
    pub endpoint: &'static str,
    pub(super) family: ApiFamily,
    pub(super) method: Method,
    /// The path behind the family, with its query.
    pub(super) path: String,
    pub(super) body: Option<String>,
    pub(super) account: Option<AccountId>,
    pub(super) key: Option<IdempotencyKey>,
}

impl Call {
    /// A read.
    pub fn get(family: ApiFamily, endpoint: &'static str, path: &str, query: &Value) -> Self {
        let request = RequestBuilder::new(StripeMethod::Get, path);
        let request = match query.as_object().is_none_or(Map::is_empty) {
            true => request,
            false => request.query(query),
        };
        let path = match request.query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        Self {
            endpoint,
            family,
            method: Method::GET,
            path,
            body: None,
            account: None,
            key: None,
        }
    }

    /// A write, under an idempotency key of its own, so that its tries have one effect.
    /// Parameters that are null are left out.
    pub fn post(family: ApiFamily, endpoint: &'static str, path: &str, parameters: Value) -> Self {
        let parameters = without_nulls(parameters);
        let is_empty = parameters.as_object().is_none_or(Map::is_empty);
        let body = match family {
            // What encodes forms makes `=` of nothing.
            ApiFamily::V1 if is_empty => None,
            ApiFamily::V1 => {
                RequestBuilder::new(StripeMethod::Post, path)
                    .form(&parameters)
                    .body
            }
            ApiFamily::V2 => Some(parameters.to_string()),
        };
        Self {
            endpoint,
            family,
            method: Method::POST,
            path: path.to_owned(),
            body: Some(body.unwrap_or_default()),
            account: None,
            key: Some(IdempotencyKey::generate()),
        }
    }

    /// On behalf of a connected account.
    #[must_use]
    pub fn of_account(mut self, account: &AccountId) -> Self {
        self.account = Some(account.clone());
        self
    }

    /// With an idempotency key that others know, too.
    #[must_use]
    pub fn with_key(mut self, key: IdempotencyKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Whether it only reads.
    pub fn is_read(&self) -> bool {
        self.method == Method::GET
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                kept.map(|(key, value)| (key, without_nulls(value)))
                    .collect(),
            )
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_a_form_in_version_1_and_json_in_version_2() {
        let parameters = json!({
            "account": "acct_1", "type": null,
            "components": { "payments": { "enabled": true } }, "expand": ["a", "b"],
        });
        let form = Call::post(ApiFamily::V1, "e", "/e", parameters.clone());
        assert_eq!(
            form.body.unwrap(),
            "account=acct_1&components[payments][enabled]=true&expand[0]=a&expand[1]=b"
        );
        let json = Call::post(ApiFamily::V2, "e", "/e", parameters);
        let sent: Value = serde_json::from_str(&json.body.unwrap()).unwrap();
        assert_eq!(sent["components"]["payments"]["enabled"], true);
        assert_eq!(sent.get("type"), None);
        let nothing = Call::post(ApiFamily::V1, "e", "/e", json!({}));
        assert_eq!(nothing.body.unwrap(), "");
    }

    #[test]
    fn a_query_stands_behind_the_path() {
        let all = Call::get(ApiFamily::V1, "accounts", "/accounts", &json!({}));
        assert_eq!(all.path, "/accounts");
        let some = json!({ "limit": 100, "created": { "gte": 5 } });
        let some = Call::get(ApiFamily::V1, "accounts", "/accounts", &some);
        assert_eq!(some.path, "/accounts?created[gte]=5&limit=100");
    }
}
