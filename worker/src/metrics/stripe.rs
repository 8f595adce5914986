//! What is counted of requests to Stripe. No label holds an id.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    endpoint: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    reason: &'static str,
}

/// What is counted of requests to Stripe.
#[derive(Clone, Debug, Default)]
pub struct ApiMetrics {
    requests: Family<RequestLabels, Counter>,
    limited: Family<LimitLabels, Counter>,
}

impl ApiMetrics {
    /// Adds the metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "stripe_requests",
            "Requests to Stripe's API by endpoint and status, 0 for no answer",
            self.requests.clone(),
        );
        registry.register(
            "stripe_rate_limited",
            "Requests that Stripe refused for their rate, by reason",
            self.limited.clone(),
        );
    }

    /// Counts an answer, or that none came.
    pub fn answered(&self, endpoint: &'static str, status: Option<u16>) {
        let status = status.unwrap_or(0);
        let labels = RequestLabels { endpoint, status };
        self.requests.get_or_create(&labels).inc();
    }

    /// Counts a request that was refused for its rate.
    pub fn limited(&self, reason: &'static str) {
        self.limited.get_or_create(&LimitLabels { reason }).inc();
    }
}
