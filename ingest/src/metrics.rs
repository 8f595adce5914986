//! What the service counts. Every label is resolved once, at start, so that
//! counting is an atomic addition.

use crate::publish::Outcome;
use crate::signature::Secrets;
use crate::webhook::{Answer, Refused};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Buckets of the confirm latency, in seconds: from a broker on the same
/// machine to the deadline.
const CONFIRM_BUCKETS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// An enum whose variants are the values of one label.
pub trait Label: Copy + 'static {
    /// All variants, in the order of [`Label::index`].
    const ALL: &'static [Self];
    /// The label's value.
    fn label(self) -> &'static str;
    /// The variant's place in [`Label::ALL`].
    fn index(self) -> usize;
}

/// One counter for each variant of `L`.
#[derive(Debug)]
pub struct Counters<L> {
    counters: Vec<Counter>,
    label: std::marker::PhantomData<L>,
}

impl<L: Label> Counters<L> {
    fn new(registry: &mut Registry, name: &str, help: &str, key: &'static str) -> Self {
        let family = register_family(registry, name, help);
        let counter = |variant: &L| labelled(&family, key, variant.label());
        Self {
            counters: L::ALL.iter().map(counter).collect(),
            label: std::marker::PhantomData,
        }
    }

    /// Counts one.
    pub fn inc(&self, variant: L) {
        if let Some(counter) = self.counters.get(variant.index()) {
            counter.inc();
        }
    }
}

type Labels = [(&'static str, String); 1];

fn register_family(registry: &mut Registry, name: &str, help: &str) -> Family<Labels, Counter> {
    let family = Family::<Labels, Counter>::default();
    registry.register(name, help, family.clone());
    family
}

fn labelled(family: &Family<Labels, Counter>, key: &'static str, value: &str) -> Counter {
    family.get_or_create(&[(key, value.to_owned())]).clone()
}

/// What became of an authentic event that was answered 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// On a queue.
    Published,
    /// Of a type that no queue is bound to.
    Unwanted,
    /// Of the mode that another deployment serves.
    OtherMode,
}

impl Label for Accepted {
    const ALL: &'static [Self] = &[Self::Published, Self::Unwanted, Self::OtherMode];

    fn label(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Unwanted => "unwanted",
            Self::OtherMode => "other_mode",
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

/// The service's metrics.
#[derive(Debug)]
pub struct Metrics {
    /// Requests by the status of their answer.
    pub answers: Counters<Answer>,
    /// Refused requests by reason.
    pub refused: Counters<Refused>,
    /// Events answered 200, by what became of them.
    pub accepted: Counters<Accepted>,
    /// Publishes by outcome.
    pub outcomes: Counters<Outcome>,
    /// Authentic bodies by the secret that fitted, in the secrets' order.
    pub secrets: Vec<Counter>,
    /// Bytes of the bodies read.
    pub body_bytes: Counter,
    /// Requests being worked on.
    pub in_flight: Gauge,
    /// Open client connections.
    pub connections: Gauge,
    /// Connections closed unanswered because there were too many: those that
    /// had to make room for newcomers, or newcomers.
    pub turned_away: Counter,
    /// Seconds from publish to the broker's answer.
    pub confirm_seconds: Histogram,
    /// Broker connections made.
    pub broker_connects: Counter,
    /// 1 while there is a broker connection.
    pub broker_connected: Gauge,
    /// 1 while the broker blocks publishers.
    pub broker_blocked: Gauge,
}

impl Metrics {
    /// Registers everything under the prefix `ingest`.
    pub fn new(registry: &mut Registry, secrets: &Secrets) -> Self {
        let registry = registry.sub_registry_with_prefix("ingest");
        let by_secret = register_family(registry, "verified", "Authentic bodies by secret");
        let by_secret = |name: &str| labelled(&by_secret, "secret", name);
        let metrics = Self {
            answers: Counters::new(registry, "requests", "Requests by answer", "status"),
            refused: Counters::new(registry, "refused", "Refused requests", "reason"),
            accepted: Counters::new(registry, "accepted", "Events answered 200", "outcome"),
            outcomes: Counters::new(registry, "publishes", "Publishes by outcome", "outcome"),
            secrets: secrets.names().map(by_secret).collect(),
            body_bytes: Counter::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            turned_away: Counter::default(),
            confirm_seconds: Histogram::new(CONFIRM_BUCKETS),
            broker_connects: Counter::default(),
            broker_connected: Gauge::default(),
            broker_blocked: Gauge::default(),
        };
        metrics.register(registry);
        metrics
    }

    fn register(&self, registry: &mut Registry) {
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        counter("body_bytes", "Bytes of bodies read", &self.body_bytes);
        counter(
            "turned_away",
            "Connections over the limit",
            &self.turned_away,
        );
        counter(
            "broker_connects",
            "Broker connections made",
            &self.broker_connects,
        );
        let mut gauge = |name: &str, help: &str, gauge: &Gauge| {
            registry.register(name, help, gauge.clone());
        };
        gauge("in_flight", "Requests being worked on", &self.in_flight);
        gauge("connections", "Open client connections", &self.connections);
        gauge(
            "broker_connected",
            "Whether there is a broker connection",
            &self.broker_connected,
        );
        gauge(
            "broker_blocked",
            "Whether the broker blocks publishers",
            &self.broker_blocked,
        );
        let latency = self.confirm_seconds.clone();
        registry.register(
            "confirm_seconds",
            "Seconds from publish to confirm",
            latency,
        );
    }

    /// Counts an authentic body.
    pub fn verified(&self, secret: usize) {
        if let Some(counter) = self.secrets.get(secret) {
            counter.inc();
        }
    }
}

/// Counts something as long as it is held.
#[derive(Debug)]
pub struct Counted<'a>(&'a Gauge);

impl<'a> Counted<'a> {
    /// One more, until this is dropped.
    #[must_use]
    pub fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::{Accepted, Label};
    use crate::publish::Outcome;
    use crate::webhook::{Answer, Refused};

    fn in_order<L: Label>() {
        for (place, variant) in L::ALL.iter().enumerate() {
            assert_eq!(variant.index(), place, "{}", variant.label());
        }
    }

    #[test]
    fn every_variant_stands_at_its_index() {
        in_order::<Accepted>();
        in_order::<Outcome>();
        in_order::<Answer>();
        in_order::<Refused>();
    }
}
