//! Gauges: what waits in the tables, and how the queue is being worked on.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use domain::{
    main_app::{ObstacleReason, Target},
    rows::WaitingFor,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, family::Family, gauge::ConstGauge, gauge::Gauge},
    registry::Registry,
};
use store::{
    api_read::Reads,
    backlog::{Backlog, WaitingNews},
};
use tokio::time::Instant;

use crate::health::Health;

/// A code of a later release, which this one does not know.
const OTHER: &str = "other";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PendingLabels {
    kind: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// What waits in the tables, as it was last counted. Nothing is shown before the first count,
/// and after one that failed.
#[derive(Clone, Debug, Default)]
pub struct BacklogGauges {
    pending: Family<PendingLabels, Gauge>,
    waiting: Family<ReasonLabel, Gauge>,
    counted: Counted,
    news: News,
}

impl BacklogGauges {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "pending_projections",
            "Rows of the main app's tables that could not be written yet, by kind and reason",
            self.pending.clone(),
        );
        registry.register(
            "invoices_waiting",
            "Invoices that are not shown to the main app yet, by reason",
            self.waiting.clone(),
        );
        registry.register_collector(Box::new(self.counted.clone()));
        registry.register_collector(Box::new(self.news.clone()));
    }

    /// Shows what was counted, and zero for every reason that nothing waits for.
    pub fn show(&self, backlog: &Backlog) {
        self.clear();
        let reasons = ObstacleReason::ALL.iter().map(|reason| reason.as_str());
        for reason in reasons {
            for kind in Target::KINDS {
                let labels = PendingLabels { kind, reason };
                self.pending.get_or_create(&labels).set(0);
            }
        }
        for one in &backlog.pending {
            let kind = Target::KINDS.into_iter().find(|kind| *kind == one.kind);
            let labels = PendingLabels {
                kind: kind.unwrap_or(OTHER),
                reason: ObstacleReason::parse(&one.reason).map_or(OTHER, ObstacleReason::as_str),
            };
            self.pending.get_or_create(&labels).inc_by(one.count);
        }
        for reason in WaitingFor::ALL.iter().map(|reason| reason.as_str()) {
            self.waiting.get_or_create(&ReasonLabel { reason }).set(0);
        }
        for one in &backlog.waiting {
            let reason = WaitingFor::parse(&one.reason).map_or(OTHER, WaitingFor::as_str);
            let gauge = self.waiting.get_or_create(&ReasonLabel { reason });
            gauge.inc_by(one.count);
        }
        self.counted.set(Some(Numbers {
            open_dead_letters: backlog.open_dead_letters,
            reads: backlog.reads,
        }));
        self.news.set(Some(backlog.news.clone()));
    }

    /// Shows nothing: the numbers would be old.
    pub fn clear(&self) {
        self.pending.clear();
        self.waiting.clear();
        self.counted.set(None);
        self.news.set(None);
    }
}

#[derive(Clone, Copy, Debug)]
struct Numbers {
    open_dead_letters: i64,
    reads: Reads,
}

/// Numbers without labels, where they are known.
#[derive(Clone, Debug, Default)]
struct Counted(Arc<Mutex<Option<Numbers>>>);

impl Counted {
    fn set(&self, numbers: Option<Numbers>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = numbers;
    }
}

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let numbers = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Numbers {
            open_dead_letters,
            reads,
        }) = numbers
        else {
            return Ok(());
        };
        for (name, help, value) in [
            (
                "dead_letters_open",
                "Dead letters that wait for an operator",
                open_dead_letters,
            ),
            (
                "stripe_reads_30_days",
                "Reads of Stripe's API that were sent in 30 days",
                reads.sent,
            ),
            (
                "stripe_reads_allowed_30_days",
                "Reads that Stripe allows in 30 days, at least",
                reads.allowed,
            ),
        ] {
            gauge(&mut encoder, name, help, value)?;
        }
        Ok(())
    }
}

/// The news that is to be published, where that is known.
#[derive(Clone, Debug, Default)]
struct News(Arc<Mutex<Option<WaitingNews>>>);

impl News {
    fn set(&self, news: Option<WaitingNews>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = news;
    }
}

impl Collector for News {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let news = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(news) = news.as_ref() else {
            return Ok(());
        };
        gauge(
            &mut encoder,
            "changes_waiting",
            "News for the main app that is to be published",
            news.count,
        )?;
        gauge(
            &mut encoder,
            "changes_oldest_waiting_seconds",
            "For how long the first of it has waited; 0 where there is none",
            news.oldest_seconds,
        )
    }
}

/// How the queue is being worked on, read when it is asked for.
#[derive(Debug)]
pub(super) struct QueueGauges(pub(super) Health);

impl Collector for QueueGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self(health) = self;
        gauge(
            &mut encoder,
            "consuming",
            "Whether the queue is being consumed: 1 or 0",
            i64::from(health.is_consuming()),
        )?;
        gauge(
            &mut encoder,
            "deliveries_in_hand",
            "Deliveries that were received and are not answered",
            i64::try_from(health.in_hand()).unwrap_or(i64::MAX),
        )?;
        gauge(
            &mut encoder,
            "oldest_delivery_in_hand_seconds",
            "For how long the oldest of them has been in hand; 0 where there is none",
            health.oldest_in_hand(Instant::now()).as_secs_f64(),
        )?;
        match health.last_commit() {
            Some(last) => gauge(
                &mut encoder,
                "last_commit_timestamp_seconds",
                "When deliveries were last committed here, in seconds since 1970",
                last,
            ),
            None => Ok(()),
        }
    }
}

fn gauge<V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: V,
) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(metric)
}
