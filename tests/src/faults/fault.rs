//! The faults there are.

use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;

use super::{stage::Stage, strike};

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `ingest` is killed (SIGKILL).
    IngestKilled,
    /// `ingest` is stopped in good order (SIGTERM).
    IngestStopped,
    /// One of two workers is killed.
    WorkerKilled,
    /// One of two workers is stopped in good order.
    WorkerStopped,
    /// Both workers are killed at once.
    WorkersKilled,
    /// A worker is paused (SIGSTOP) while it holds the writers' lock.
    WriterPaused,
    /// The broker is killed.
    BrokerKilled,
    /// The broker is stopped in good order and started again.
    BrokerRestarted,
    /// The broker is paused (SIGSTOP): its connections stay open.
    BrokerPaused,
    /// The broker is short of memory and blocks publishers.
    MemoryAlarm,
    /// The broker is short of disk and blocks publishers.
    DiskAlarm,
    /// The broker closes all connections.
    ConnectionsClosed,
    /// Somebody deletes the worker's queue while it is empty.
    QueueDeleted,
    /// Of a cluster's three nodes, the leader of the worker's queue is killed.
    LeaderKilled,
    /// Two of the three nodes are killed at once.
    MajorityLost,
    /// The three nodes are restarted one after the other.
    RollingRestart,
    /// PostgreSQL is killed with all its processes.
    DatabaseKilled,
    /// PostgreSQL is stopped in good order and started again.
    DatabaseRestarted,
    /// All processes of PostgreSQL are paused (SIGSTOP).
    DatabasePaused,
    /// All sessions of the database are terminated.
    SessionsTerminated,
    /// Others take all connections that the database has.
    ConnectionsExhausted,
    /// The database takes no writes for a while.
    ReadOnly,
    /// The database's disk is full for a while.
    DiskFull,
    /// The main app holds rows of its tables, among them those that many events are about.
    RowsLocked,
    /// The main app locks one of its tables, or all of them, as its migrations do.
    TablesLocked,
    /// The main app locks all of its tables for a minute.
    TablesLockedLong,
    /// The main app has changed and inserted rows in a transaction that it does not end.
    IdleTransaction,
    /// A constraint of the main app's refuses rows.
    CheckAdded,
    /// A trigger of the main app's raises an error.
    TriggerAdded,
    /// A table of the main app's refers to its invoices and restricts their removal.
    KeyAdded,
    /// The main app locks such rows in changing orders.
    Deadlocks,
    /// The primary is killed, and its synchronous standby takes over.
    Failover,
    /// Every wire is slow.
    Latency,
    /// A wire passes nothing, and nobody is told.
    HalfOpen,
    /// Connections are reset in the middle of what is said.
    MidFrame,
    /// The broker takes a message, and its confirm is lost.
    ConfirmLost,
    /// A worker's ack is lost.
    AckLost,
    /// The database commits, and its answer is lost.
    CommitLost,
}

/// What a fault breaks. Faults of one place never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The project's own processes.
    Services,
    /// RabbitMQ.
    Broker,
    /// PostgreSQL.
    Database,
    /// What is between them.
    Wire,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 38] = [
        Self::IngestKilled,
        Self::IngestStopped,
        Self::WorkerKilled,
        Self::WorkerStopped,
        Self::WorkersKilled,
        Self::WriterPaused,
        Self::BrokerKilled,
        Self::BrokerRestarted,
        Self::BrokerPaused,
        Self::MemoryAlarm,
        Self::DiskAlarm,
        Self::ConnectionsClosed,
        Self::QueueDeleted,
        Self::LeaderKilled,
        Self::MajorityLost,
        Self::RollingRestart,
        Self::DatabaseKilled,
        Self::DatabaseRestarted,
        Self::DatabasePaused,
        Self::SessionsTerminated,
        Self::ConnectionsExhausted,
        Self::ReadOnly,
        Self::DiskFull,
        Self::RowsLocked,
        Self::TablesLocked,
        Self::TablesLockedLong,
        Self::IdleTransaction,
        Self::CheckAdded,
        Self::TriggerAdded,
        Self::KeyAdded,
        Self::Deadlocks,
        Self::Failover,
        Self::Latency,
        Self::HalfOpen,
        Self::MidFrame,
        Self::ConfirmLost,
        Self::AckLost,
        Self::CommitLost,
    ];

    /// Services and servers are killed (SIGKILL), each for itself.
    pub const KILLS: [Self; 5] = [
        Self::WorkerKilled,
        Self::WorkersKilled,
        Self::IngestKilled,
        Self::BrokerKilled,
        Self::DatabaseKilled,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::IngestKilled => "ingest-killed",
            Self::IngestStopped => "ingest-stopped",
            Self::WorkerKilled => "worker-killed",
            Self::WorkerStopped => "worker-stopped",
            Self::WorkersKilled => "workers-killed",
            Self::WriterPaused => "writer-paused",
            Self::BrokerKilled => "broker-killed",
            Self::BrokerRestarted => "broker-restarted",
            Self::BrokerPaused => "broker-paused",
            Self::MemoryAlarm => "memory-alarm",
            Self::DiskAlarm => "disk-alarm",
            Self::ConnectionsClosed => "connections-closed",
            Self::QueueDeleted => "queue-deleted",
            Self::LeaderKilled => "leader-killed",
            Self::MajorityLost => "majority-lost",
            Self::RollingRestart => "rolling-restart",
            Self::DatabaseKilled => "database-killed",
            Self::DatabaseRestarted => "database-restarted",
            Self::DatabasePaused => "database-paused",
            Self::SessionsTerminated => "sessions-terminated",
            Self::ConnectionsExhausted => "connections-exhausted",
            Self::ReadOnly => "read-only",
            Self::DiskFull => "disk-full",
            Self::RowsLocked => "rows-locked",
            Self::TablesLocked => "tables-locked",
            Self::TablesLockedLong => "tables-locked-a-minute",
            Self::IdleTransaction => "idle-transaction",
            Self::CheckAdded => "check-added",
            Self::TriggerAdded => "trigger-added",
            Self::KeyAdded => "key-added",
            Self::Deadlocks => "deadlocks",
            Self::Failover => "failover",
            Self::Latency => "latency",
            Self::HalfOpen => "half-open",
            Self::MidFrame => "mid-frame",
            Self::ConfirmLost => "confirm-lost",
            Self::AckLost => "ack-lost",
            Self::CommitLost => "commit-lost",
        }
    }

    /// What it breaks.
    #[must_use]
    pub fn place(self) -> Place {
        match self {
            Self::IngestKilled
            | Self::IngestStopped
            | Self::WorkerKilled
            | Self::WorkerStopped
            | Self::WorkersKilled
            | Self::WriterPaused => Place::Services,
            Self::BrokerKilled
            | Self::BrokerRestarted
            | Self::BrokerPaused
            | Self::MemoryAlarm
            | Self::DiskAlarm
            | Self::ConnectionsClosed
            | Self::QueueDeleted
            | Self::LeaderKilled
            | Self::MajorityLost
            | Self::RollingRestart => Place::Broker,
            Self::DatabaseKilled
            | Self::DatabaseRestarted
            | Self::DatabasePaused
            | Self::SessionsTerminated
            | Self::ConnectionsExhausted
            | Self::ReadOnly
            | Self::DiskFull
            | Self::RowsLocked
            | Self::TablesLocked
            | Self::TablesLockedLong
            | Self::IdleTransaction
            | Self::CheckAdded
            | Self::TriggerAdded
            | Self::KeyAdded
            | Self::Deadlocks
            | Self::Failover => Place::Database,
            Self::Latency
            | Self::HalfOpen
            | Self::MidFrame
            | Self::ConfirmLost
            | Self::AckLost
            | Self::CommitLost => Place::Wire,
        }
    }

    /// Whether it needs a cluster of three brokers.
    #[must_use]
    pub fn needs_cluster(self) -> bool {
        matches!(
            self,
            Self::LeaderKilled | Self::MajorityLost | Self::RollingRestart
        )
    }

    /// Whether it can meet the others: it needs no servers of its own kind, and lasts
    /// for seconds.
    #[must_use]
    pub fn is_common(self) -> bool {
        let is_apart = matches!(
            self,
            Self::Failover | Self::DiskFull | Self::TablesLockedLong
        );
        !self.needs_cluster() && !is_apart
    }

    /// Whether it is something that the main app does with its own tables.
    #[must_use]
    pub fn is_of_main_app(self) -> bool {
        matches!(
            self,
            Self::RowsLocked
                | Self::TablesLocked
                | Self::TablesLockedLong
                | Self::IdleTransaction
                | Self::CheckAdded
                | Self::TriggerAdded
                | Self::KeyAdded
                | Self::Deadlocks
        )
    }

    /// About how long between two of its strikes: services are back at once,
    /// servers need some seconds to be, and have to be seen to work again.
    #[must_use]
    pub fn rest(self) -> Duration {
        if self == Self::TablesLockedLong {
            // All rows are to be seen right before the next one.
            return Duration::from_secs(25);
        }
        match self.place() {
            Place::Services => Duration::from_millis(1_200),
            Place::Broker | Place::Database | Place::Wire => Duration::from_secs(4),
        }
    }

    /// Breaks it, and mends it again.
    ///
    /// # Errors
    /// When what was broken does not come back.
    pub(super) async fn strike(self, stage: &Stage, rng: &mut Rng) -> Result<()> {
        match self.place() {
            Place::Services => strike::services::strike(self, stage, rng).await,
            Place::Broker => strike::broker::strike(self, stage, rng).await,
            Place::Database if self.is_of_main_app() => {
                strike::main_app::strike(self, stage, rng).await
            }
            Place::Database => strike::database::strike(self, stage).await,
            Place::Wire => strike::wire::strike(self, stage, rng).await,
        }
    }
}
