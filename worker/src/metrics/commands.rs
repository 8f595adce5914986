//! What is counted of commands. No label holds what was sent.

use std::time::Duration;

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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    command: &'static str,
    result: &'static str,
}

/// What is counted of commands.
#[derive(Clone, Debug)]
pub struct CommandMetrics {
    commands: Family<Labels, Counter>,
    seconds: Histogram,
    /// Whether commands are being taken: 1 or 0.
    pub consuming: Gauge,
    /// Commands in hand.
    pub in_hand: Gauge,
    /// Answers that nobody was there to take.
    pub callers_gone: Counter,
}

impl Default for CommandMetrics {
    fn default() -> Self {
        Self {
            commands: Family::default(),
            seconds: Histogram::new(exponential_buckets(0.005, 2.0, 14)),
            consuming: Gauge::default(),
            in_hand: Gauge::default(),
            callers_gone: Counter::default(),
        }
    }
}

impl CommandMetrics {
    /// Adds the metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "commands",
            "Commands by name and result: ok, or the error's code",
            self.commands.clone(),
        );
        registry.register(
            "command_seconds",
            "Seconds from a command's delivery to its answer",
            self.seconds.clone(),
        );
        registry.register(
            "commands_consuming",
            "Whether the queue of commands is being consumed: 1 or 0",
            self.consuming.clone(),
        );
        registry.register(
            "commands_in_hand",
            "Commands that are being done",
            self.in_hand.clone(),
        );
        registry.register(
            "command_callers_gone",
            "Answers that nobody was there to take",
            self.callers_gone.clone(),
        );
    }

    /// Counts a command that was answered.
    pub fn answered(&self, command: &'static str, result: &'static str, took: Duration) {
        let labels = Labels { command, result };
        self.commands.get_or_create(&labels).inc();
        self.seconds.observe(took.as_secs_f64());
    }
}
