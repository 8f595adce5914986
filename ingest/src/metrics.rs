//! Registers the metrics of all modules. Each module owns its own.

use crate::publish::PublishMetrics;
use crate::server::ServerMetrics;
use crate::signature::Secrets;
use crate::webhook::WebhookMetrics;
use prometheus_client::registry::Registry;

/// The metrics of all modules.
#[derive(Debug)]
pub struct Metrics {
    pub(crate) server: ServerMetrics,
    pub(crate) webhook: WebhookMetrics,
    pub(crate) publish: PublishMetrics,
}

impl Metrics {
    /// Registers all metrics with the prefix `ingest`.
    pub fn register(registry: &mut Registry, secrets: &Secrets) -> Self {
        let registry = registry.sub_registry_with_prefix("ingest");
        Self {
            server: ServerMetrics::register(registry),
            webhook: WebhookMetrics::register(registry, secrets),
            publish: PublishMetrics::register(registry),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::metric_types::Label;
    use crate::publish::Outcome;
    use crate::webhook::{Accepted, FixedResponse, RefusalReason};

    fn in_order<L: Label>() {
        for (place, variant) in L::ALL.iter().enumerate() {
            assert_eq!(variant.index(), place, "{}", variant.label());
        }
    }

    #[test]
    fn every_variant_stands_at_its_index() {
        in_order::<Accepted>();
        in_order::<Outcome>();
        in_order::<FixedResponse>();
        in_order::<RefusalReason>();
    }
}
