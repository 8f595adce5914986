//! The worker's metrics. No label holds an id or anything out of a body.

pub mod changes;
pub mod commands;
pub mod gauges;
pub mod stripe;

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use domain::outcome::Decision;
use shared::clock;

use self::{
    changes::ChangeMetrics,
    commands::CommandMetrics,
    gauges::{BacklogGauges, QueueGauges},
    stripe::ApiMetrics,
};
use crate::health::Health;

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
    batch_size: Histogram,
    batch_seconds: Histogram,
    /// Handlers that panicked.
    pub crashes: Counter,
    /// Dead letters recorded, those of the broker and of the worker.
    pub dead_letters_recorded: Counter,
    /// Connections to the broker that were lost or not made.
    pub sessions_lost: Counter,
    /// Accounts read from Stripe's API.
    pub accounts_read: Counter,
    /// What is counted of jobs.
    pub jobs: JobMetrics,
    /// What waits in the tables.
    pub backlog: BacklogGauges,
    /// What is counted of news.
    pub changes: ChangeMetrics,
    /// What is counted of commands.
    pub commands: CommandMetrics,
    /// What is counted of requests to Stripe.
    pub stripe: ApiMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            events: Family::default(),
            dead: Family::default(),
            batch_size: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            batch_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            crashes: Counter::default(),
            dead_letters_recorded: Counter::default(),
            sessions_lost: Counter::default(),
            accounts_read: Counter::default(),
            jobs: JobMetrics::default(),
            backlog: BacklogGauges::default(),
            changes: ChangeMetrics::default(),
            commands: CommandMetrics::default(),
            stripe: ApiMetrics::default(),
        }
    }
}

impl Metrics {
    /// Adds the metrics to a registry, with gauges of what `health` knows.
    pub fn register(&self, registry: &mut Registry, health: &Health) {
        let registry = registry.sub_registry_with_prefix("worker");
        let counters = [
            ("crashes", "Handlers that panicked", &self.crashes),
            (
                "dead_letters_recorded",
                "Dead letters recorded in the database",
                &self.dead_letters_recorded,
            ),
            (
                "sessions_lost",
                "Broker connections lost or not made",
                &self.sessions_lost,
            ),
            (
                "accounts_read",
                "Accounts read from Stripe's API",
                &self.accounts_read,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        self.jobs.register(registry);
        self.backlog.register(registry);
        self.changes.register(registry);
        self.commands.register(registry);
        self.stripe.register(registry);
        registry.register_collector(Box::new(QueueGauges(health.clone())));
        registry.register("events", "Deliveries by outcome", self.events.clone());
        registry.register("dead_letters", "Dead letters by reason", self.dead.clone());
        registry.register(
            "batch_events",
            "Deliveries in one transaction",
            self.batch_size.clone(),
        );
        registry.register(
            "batch_seconds",
            "Seconds from a batch's deliveries to its commit",
            self.batch_seconds.clone(),
        );
    }

    /// Counts one batch.
    pub fn batch(&self, events: usize, took: Duration) {
        self.batch_size
            .observe(f64::from(u32::try_from(events).unwrap_or(u32::MAX)));
        self.batch_seconds.observe(took.as_secs_f64());
    }

    /// Counts the dead letters of a reason.
    pub fn dead(&self, reason: &'static str) -> Counter {
        self.dead.get_or_create(&Reason { reason }).clone()
    }

    /// Counts one decision.
    pub fn decision(&self, decision: &Decision) {
        if let Decision::Dead(why) = decision {
            self.dead(why.code()).inc();
            self.dead_letters_recorded.inc();
        }
        let outcome = decision.as_str();
        self.events.get_or_create(&Outcome { outcome }).inc();
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabel {
    job: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    job: &'static str,
    result: &'static str,
}

/// What is counted of jobs.
#[derive(Clone, Debug, Default)]
pub struct JobMetrics {
    runs: Family<RunLabels, Counter>,
    last_run: Family<JobLabel, Gauge>,
    elsewhere: Family<JobLabel, Gauge<f64, AtomicU64>>,
}

impl JobMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("job_runs", "Runs of jobs by result", self.runs.clone());
        registry.register(
            "job_last_run_timestamp_seconds",
            "When a job last ran well here, in seconds since 1970",
            self.last_run.clone(),
        );
        registry.register(
            "job_runs_elsewhere_seconds",
            "For how long one run of a job has gone on in another worker; 0 where it ran here",
            self.elsewhere.clone(),
        );
    }

    /// Shows for how long a run has gone on elsewhere.
    pub fn runs_elsewhere(&self, job: &'static str, seconds: f64) {
        self.elsewhere.get_or_create(&JobLabel { job }).set(seconds);
    }

    /// Counts a run.
    pub fn ran(&self, job: &'static str, is_well: bool) {
        let result = if is_well { "ok" } else { "failed" };
        self.runs.get_or_create(&RunLabels { job, result }).inc();
        if is_well {
            let last_run = self.last_run.get_or_create(&JobLabel { job });
            last_run.set(clock::now_unix());
        }
    }
}
