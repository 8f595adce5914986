//! The metrics of requests.

use super::decision::{Accepted, Decision, RefusalReason};
use super::response::FixedResponse;
use crate::metric_types::{LabelledCounters, counter, gauge, labelled_counters};
use crate::signature::Secrets;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The metrics of requests.
#[derive(Debug)]
pub struct WebhookMetrics {
    responses: LabelledCounters<FixedResponse>,
    refused: LabelledCounters<RefusalReason>,
    accepted: LabelledCounters<Accepted>,
    /// Authentic bodies by the secret that matched, in the order of the secrets.
    verified: Vec<Counter>,
    pub(super) body_bytes: Counter,
    /// Requests in progress.
    pub(super) in_flight: Gauge,
}

impl WebhookMetrics {
    pub(crate) fn register(registry: &mut Registry, secrets: &Secrets) -> Self {
        Self {
            responses: LabelledCounters::register(
                registry,
                "requests",
                "Requests by answer",
                "status",
            ),
            refused: LabelledCounters::register(registry, "refused", "Refused requests", "reason"),
            accepted: LabelledCounters::register(
                registry,
                "accepted",
                "Events answered 200",
                "outcome",
            ),
            verified: labelled_counters(
                registry,
                "verified",
                "Authentic bodies by secret",
                "secret",
                secrets.names(),
            ),
            body_bytes: counter(registry, "body_bytes", "Bytes of bodies read"),
            in_flight: gauge(registry, "in_flight", "Requests being worked on"),
        }
    }

    /// Counts a request by its decision. A failed publish is counted by the
    /// metrics of publishing.
    pub(super) fn count_decision(&self, decision: Decision) {
        self.count_response(decision.response());
        match decision {
            Decision::Accepted(accepted) => self.accepted.inc(accepted),
            Decision::Refused(reason) => self.refused.inc(reason),
            Decision::NotPublished(_) => {}
        }
    }

    /// Counts a response.
    pub(crate) fn count_response(&self, response: FixedResponse) {
        self.responses.inc(response);
    }

    /// Counts an authentic body. `secret` is the index of the secret that matched.
    pub(super) fn count_verified(&self, secret: usize) {
        if let Some(counter) = self.verified.get(secret) {
            counter.inc();
        }
    }
}
