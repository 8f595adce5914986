//! The types that the modules build their metrics from. Each label's counter is
//! looked up once, at start, so that counting is one atomic addition.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::marker::PhantomData;

/// An enum whose variants are the values of one label.
pub(crate) trait Label: Copy + 'static {
    /// All variants, in the order of [`Label::index`].
    const ALL: &'static [Self];
    /// The label's value.
    fn label(self) -> &'static str;
    /// The variant's index in [`Label::ALL`].
    fn index(self) -> usize;
}

/// One counter for each variant of `L`.
#[derive(Debug)]
pub(crate) struct LabelledCounters<L> {
    counters: Vec<Counter>,
    label: PhantomData<L>,
}

impl<L: Label> LabelledCounters<L> {
    /// Registers a counter with the label `key`.
    pub(crate) fn register(
        registry: &mut Registry,
        name: &str,
        help: &str,
        key: &'static str,
    ) -> Self {
        let values = L::ALL.iter().map(|variant| variant.label());
        Self {
            counters: labelled_counters(registry, name, help, key, values),
            label: PhantomData,
        }
    }

    /// Adds one to the variant's counter.
    pub(crate) fn inc(&self, variant: L) {
        if let Some(counter) = self.counters.get(variant.index()) {
            counter.inc();
        }
    }
}

/// Registers a counter with the label `key`. Returns the counters of `values`, in
/// their order.
pub(crate) fn labelled_counters<'a>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    key: &'static str,
    values: impl Iterator<Item = &'a str>,
) -> Vec<Counter> {
    let family = Family::<[(&'static str, String); 1], Counter>::default();
    registry.register(name, help, family.clone());
    let counter = |value: &str| family.get_or_create(&[(key, value.to_owned())]).clone();
    values.map(counter).collect()
}

/// Registers a counter without labels.
pub(crate) fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

/// Registers a gauge.
pub(crate) fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

/// Registers a histogram.
pub(crate) fn histogram(
    registry: &mut Registry,
    name: &str,
    help: &str,
    buckets: impl IntoIterator<Item = f64>,
) -> Histogram {
    let histogram = Histogram::new(buckets);
    registry.register(name, help, histogram.clone());
    histogram
}

/// Adds one to a gauge until it is dropped.
#[derive(Debug)]
pub(crate) struct GaugeGuard<'a>(&'a Gauge);

impl<'a> GaugeGuard<'a> {
    #[must_use]
    pub(crate) fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for GaugeGuard<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
