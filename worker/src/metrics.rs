//! What the worker counts. No label holds an id or anything out of a body.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::events::verdict::Verdict;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// The worker's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    events: Family<Outcome, Counter>,
    dead: Family<Reason, Counter>,
    unit_size: Histogram,
    unit_seconds: Histogram,
    /// Deliveries set aside because something was in their way.
    pub held: Counter,
    /// Handlers that panicked.
    pub crashes: Counter,
    /// Dead letters written down.
    pub buried: Counter,
    /// Connections to the broker that were lost or not made.
    pub sessions_lost: Counter,
    /// Accounts settled by asking the API.
    pub rereads: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            events: Family::default(),
            dead: Family::default(),
            unit_size: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            unit_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            held: Counter::default(),
            crashes: Counter::default(),
            buried: Counter::default(),
            sessions_lost: Counter::default(),
            rereads: Counter::default(),
        }
    }
}

impl Metrics {
    /// Adds the metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("worker");
        let counters = [
            ("held", "Deliveries set aside to be tried later", &self.held),
            ("crashes", "Handlers that panicked", &self.crashes),
            ("buried", "Dead letters written down", &self.buried),
            (
                "sessions_lost",
                "Broker connections lost or not made",
                &self.sessions_lost,
            ),
            (
                "rereads",
                "Accounts settled by asking Stripe",
                &self.rereads,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register("events", "Deliveries by outcome", self.events.clone());
        registry.register("dead_letters", "Dead letters by reason", self.dead.clone());
        registry.register(
            "unit_events",
            "Deliveries in one transaction",
            self.unit_size.clone(),
        );
        registry.register(
            "unit_seconds",
            "Seconds from a unit's deliveries to its commit",
            self.unit_seconds.clone(),
        );
    }

    /// Counts one unit.
    pub fn unit(&self, events: usize, took: Duration) {
        self.unit_size
            .observe(f64::from(u32::try_from(events).unwrap_or(u32::MAX)));
        self.unit_seconds.observe(took.as_secs_f64());
    }

    /// What counts the dead letters of a reason.
    pub fn dead(&self, reason: &'static str) -> Counter {
        self.dead.get_or_create(&Reason { reason }).clone()
    }

    /// Counts one verdict.
    pub fn verdict(&self, verdict: &Verdict) {
        let outcome = match verdict {
            Verdict::Settled(outcome) => outcome.as_str(),
            Verdict::Duplicate => "duplicate",
            Verdict::Dead(why) => {
                self.dead(why.code()).inc();
                "dead"
            }
        };
        self.events.get_or_create(&Outcome { outcome }).inc();
    }
}
