//! What arrived.

use serde_json::Value;

/// A request that arrived, with how it was answered.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// `GET` or `POST`.
    pub method: String,
    /// The path, without its query.
    pub path: String,
    /// The query as it stood.
    pub query: String,
    /// The parameters: typed where the request was understood.
    pub params: Value,
    /// `Stripe-Version`.
    pub stripe_version: Option<String>,
    /// `Stripe-Account`.
    pub stripe_account: Option<String>,
    /// `Stripe-Context`.
    pub stripe_context: Option<String>,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// The status of the answer; none while there is none, and where the
    /// connection was closed without one.
    pub status: Option<u16>,
    /// The answer's `Request-Id`.
    pub request_id: String,
    /// Whether the answer was one that an earlier request had got.
    pub replayed: bool,
}
