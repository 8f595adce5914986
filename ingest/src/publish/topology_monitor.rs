//! Checks that the topology is on the broker, and declares again the exchanges,
//! queues and bindings that were deleted.

use lapin::Connection;
use shared::telemetry::report;
use shared::topology::{self, Declared, Names, Role, TopologyError};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout};

/// How often exchanges and queues are looked up although no publisher has
/// reported one missing. If only another service's queue takes a message, the
/// broker does not return it.
const FIND_INTERVAL: Duration = Duration::from_secs(1);
/// How often everything is declared again although nothing seems to be missing:
/// bindings cannot be looked up.
const REDECLARE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a missing queue stays missing before it is declared again. RabbitMQ
/// cancels the consumers of a deleted queue a moment later. If there is a new queue
/// of the same name by then, RabbitMQ was seen to move them there instead, and the
/// new queue's deliveries do not reach them.
const REDECLARE_DELAY: Duration = Duration::from_secs(1);
/// How long one look-up or declaration of everything may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// The topology as one connection sees it.
pub(super) struct TopologyMonitor {
    connection: Arc<Connection>,
    names: Names,
    /// Whether the broker's user may declare the topology or only look it up.
    may_declare: bool,
    /// Whether exchanges, queues and bindings are as declared, as far as known.
    is_intact: AtomicBool,
    /// Whether an exchange or a queue was looked up and not found.
    is_absent: AtomicBool,
    missing: Notify,
}

impl TopologyMonitor {
    /// Declares the topology.
    pub(super) async fn declare(
        connection: Arc<Connection>,
        names: &Names,
    ) -> Result<Self, TopologyError> {
        let declared = topology::declare(&connection, names, Role::Publisher).await?;
        declared.warn();
        Ok(Self {
            connection,
            names: names.clone(),
            may_declare: declared != Declared::ByName,
            is_intact: AtomicBool::new(true),
            is_absent: AtomicBool::new(false),
            missing: Notify::new(),
        })
    }

    /// Whether everything is on the broker as declared, as far as known.
    pub(super) fn is_intact(&self) -> bool {
        self.is_intact.load(Ordering::Relaxed)
    }

    /// Whether an exchange or a queue is known to be missing. Another service's
    /// queue may still take the worker's events.
    pub(super) fn is_absent(&self) -> bool {
        self.is_absent.load(Ordering::Relaxed)
    }

    /// Reports that something seems to be missing: an event of a handled type was
    /// returned, or the broker closed the channel.
    pub(super) fn report_missing(&self) {
        self.is_intact.store(false, Ordering::Relaxed);
        self.missing.notify_one();
    }

    /// Checks the topology at intervals and after each report, and declares it
    /// again if something is missing. Does nothing while `is_blocked`.
    pub(super) async fn run(&self, is_blocked: impl Fn() -> bool) -> Infallible {
        let mut declared_at = Instant::now();
        let mut last_error = String::new();
        loop {
            tokio::select! {
                () = self.missing.notified() => {}
                () = sleep(FIND_INTERVAL) => {}
            }
            // A broker that blocks publishers would not answer.
            if is_blocked() {
                continue;
            }
            let mut checked = timeout(CHECK_TIMEOUT, self.find()).await;
            let was_missing = !self.is_intact();
            if was_missing {
                sleep(REDECLARE_DELAY).await;
            }
            if was_missing || declared_at.elapsed() > REDECLARE_INTERVAL {
                declared_at = Instant::now();
                checked = timeout(CHECK_TIMEOUT, self.redeclare()).await;
            }
            log(checked, was_missing, &mut last_error);
        }
    }

    /// Looks up the exchanges and queues.
    async fn find(&self) -> Result<(), TopologyError> {
        let found = topology::find(&self.connection, &self.names, Role::Publisher).await;
        self.record_absence(&found);
        if found.as_ref().is_err_and(tells_something) {
            self.is_intact.store(false, Ordering::Relaxed);
        }
        found
    }

    /// Declares the topology again. If the broker's user may not declare it, only
    /// looks it up, because the broker would log each refusal.
    async fn redeclare(&self) -> Result<(), TopologyError> {
        let (connection, names) = (&self.connection, &self.names);
        let declared = if self.may_declare {
            let declared = topology::declare(connection, names, Role::Publisher);
            declared.await.map(drop)
        } else {
            topology::find(connection, names, Role::Publisher).await
        };
        self.record_absence(&declared);
        if declared.as_ref().err().is_none_or(tells_something) {
            self.is_intact.store(declared.is_ok(), Ordering::Relaxed);
        }
        declared
    }

    fn record_absence(&self, checked: &Result<(), TopologyError>) {
        // A broker that went away tells nothing about its queues.
        let is_away = matches!(checked, Err(TopologyError::Broker { .. }));
        if !is_away && checked.as_ref().err().is_none_or(tells_something) {
            let is_absent = matches!(checked, Err(TopologyError::Absent { .. }));
            self.is_absent.store(is_absent, Ordering::Relaxed);
        }
    }
}

/// Whether a check that failed tells anything about the topology. A user without a
/// right on something is not told whether it is there.
fn tells_something(error: &TopologyError) -> bool {
    !matches!(error, TopologyError::Hidden { .. })
}

/// Logs the result of a check. Logs an error once while it repeats.
fn log(
    checked: Result<Result<(), TopologyError>, Elapsed>,
    was_missing: bool,
    last_error: &mut String,
) {
    match checked {
        Ok(Ok(())) => {
            last_error.clear();
            if was_missing {
                tracing::info!("the topology is there again");
            }
        }
        Ok(Err(error)) => {
            let error = report(&error);
            if error != *last_error {
                tracing::error!(
                    error,
                    "the topology is not as it has to be, or cannot be seen"
                );
            }
            *last_error = error;
        }
        Err(_elapsed) => tracing::warn!("looking at the topology took too long"),
    }
}
