//! The stand-in over HTTP: what works and what must be refused.

mod accounts;
mod breaking;
mod checkout;
mod deliveries;

use hyper::Method;
use serde_json::{Value, json};

use super::{Options, StandIn};
use crate::http::{self, Answer};

/// The parameters of an Express account.
pub(super) const EXPRESS: &str = "type=express&country=ES&email=a%40dialoom.example\
    &metadata[hostId]=host-1&capabilities[card_payments][requested]=true\
    &capabilities[transfers][requested]=true";

pub(super) async fn start() -> StandIn {
    StandIn::start(Options::default()).await.unwrap()
}

/// Sends a request with these headers beside the usual ones.
pub(super) async fn send(
    api: &StandIn,
    method: Method,
    path: &str,
    extra: &[(&str, &str)],
    body: &str,
) -> anyhow::Result<Answer> {
    let url = format!("{}{}", api.base_url(), path.trim_start_matches('/'));
    let kind = if path.starts_with("/v2") {
        "application/json"
    } else {
        "application/x-www-form-urlencoded"
    };
    let mut headers = vec![
        ("content-type", kind),
        ("stripe-version", "2026-10-28.endive"),
    ];
    if !extra.iter().any(|(name, _)| *name == "authorization") {
        headers.push(("authorization", "Bearer sk_test_standin"));
    }
    headers.retain(|(name, _)| !extra.iter().any(|(other, _)| other == name));
    headers.extend(extra.iter().filter(|(_, value)| !value.is_empty()));
    http::send(method, &url, &headers, body.to_owned()).await
}

pub(super) fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

/// Posts, and gives the status and the body.
pub(super) async fn post(api: &StandIn, path: &str, body: &str) -> (u16, Value) {
    let answer = send(api, Method::POST, path, &[], body).await.unwrap();
    (answer.status.as_u16(), json_of(&answer))
}

/// Gets, and gives the status and the body.
pub(super) async fn get(api: &StandIn, path: &str) -> (u16, Value) {
    let answer = send(api, Method::GET, path, &[], "").await.unwrap();
    (answer.status.as_u16(), json_of(&answer))
}

/// The code and the parameter of a refusal.
pub(super) fn refusal(answer: &(u16, Value)) -> (u16, &str, &str) {
    let error = &answer.1["error"];
    let text = |name: &str| error[name].as_str().unwrap_or_default();
    (answer.0, text("code"), text("param"))
}

/// The parameters of an account of the second version.
pub(super) fn v2_account() -> Value {
    json!({
        "contact_email": "a@dialoom.example",
        "display_name": "Ana",
        "dashboard": "express",
        "identity": { "country": "ES", "entity_type": "individual" },
        "configuration": {
            "merchant": { "capabilities": { "card_payments": { "requested": true } } },
            "recipient": { "capabilities": { "stripe_balance": { "stripe_transfers": { "requested": true } } } },
        },
        "defaults": { "responsibilities": { "fees_collector": "application", "losses_collector": "application" } },
        "metadata": { "hostId": "host-2" },
        "include": ["configuration.merchant", "configuration.recipient", "requirements", "identity", "defaults"],
    })
}
