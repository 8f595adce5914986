//! What is counted of news for the main app.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

/// What is counted of news.
#[derive(Clone, Debug, Default)]
pub struct ChangeMetrics {
    /// Messages that a queue has.
    pub published: Counter,
    /// Messages for which no queue was bound.
    pub unheard: Counter,
}

impl ChangeMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "changes_published",
            "News for the main app that a queue has",
            self.published.clone(),
        );
        registry.register(
            "changes_unheard",
            "News for the main app for which no queue was bound",
            self.unheard.clone(),
        );
    }
}
