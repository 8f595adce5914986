//! The metrics of publishing and of the broker connection.

use super::outcome::Outcome;
use crate::metric_types::{LabelledCounters, counter, gauge, histogram};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Buckets of the confirm latency, in seconds: from a broker on the same machine
/// to the deadline.
const CONFIRM_BUCKETS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// The metrics of publishing and of the broker connection.
#[derive(Debug)]
pub struct PublishMetrics {
    pub(super) outcomes: LabelledCounters<Outcome>,
    pub(super) confirm_seconds: Histogram,
    pub(super) broker_connects: Counter,
    /// 1 while there is a broker connection.
    pub(super) broker_connected: Gauge,
    /// 1 while the broker blocks publishers.
    pub(super) broker_blocked: Gauge,
}

impl PublishMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        Self {
            outcomes: LabelledCounters::register(
                registry,
                "publishes",
                "Publishes by outcome",
                "outcome",
            ),
            confirm_seconds: histogram(
                registry,
                "confirm_seconds",
                "Seconds from publish to confirm",
                CONFIRM_BUCKETS,
            ),
            broker_connects: counter(registry, "broker_connects", "Broker connections made"),
            broker_connected: gauge(
                registry,
                "broker_connected",
                "Whether there is a broker connection",
            ),
            broker_blocked: gauge(
                registry,
                "broker_blocked",
                "Whether the broker blocks publishers",
            ),
        }
    }
}
