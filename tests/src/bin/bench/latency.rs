//! Latencies.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Every single one that was measured.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<Duration>);

/// What is said of many.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Latency {
    /// Half of them were shorter.
    pub(crate) p50: Duration,
    /// One in a hundred was longer.
    pub(crate) p99: Duration,
}

impl Latencies {
    pub(crate) fn push(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    pub(crate) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn summary(mut self) -> Latency {
        self.0.sort_unstable();
        let at = |hundredths: usize| {
            let place = self.0.len() * hundredths / 100;
            let last = self.0.len().saturating_sub(1);
            self.0.get(place.min(last)).copied().unwrap_or_default()
        };
        Latency {
            p50: at(50),
            p99: at(99),
        }
    }
}
