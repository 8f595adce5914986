//! What a batch reads and writes: PostgreSQL in the worker, memory in the model's tests.

use std::future::Future;

use chrono::{DateTime, Utc};
use domain::{changes::Changes, history::AccountTransition, source::Source};
use store::{
    archive_page::PageBuilder, dead_letter::NewDeadLetter, event::LedgerRow, outbox::Outbox,
    replay_item::Note, working_set::Projected,
};

use crate::pipeline::{admission::Known, delivery::Delivery, late_refusals::LateChanges};

/// All that one batch changes. It is saved whole or not at all.
#[derive(Debug)]
pub struct BatchChanges<'a> {
    /// The objects, and the rows that the main app reads.
    pub objects: Changes<'a>,
    /// The history of hosts.
    pub transitions: Vec<AccountTransition>,
    /// A row for each event that was decided.
    pub ledger: Vec<LedgerRow<'a>>,
    /// The bytes of events that were applied.
    pub archive: &'a [PageBuilder<'a>],
    /// Events that could not be applied.
    pub dead_letters: Vec<NewDeadLetter>,
    /// Outcomes of earlier events that a decided claim changes.
    pub late: LateChanges,
    /// What came of the items of replays.
    pub replay_notes: Vec<Note<'a>>,
    /// Dead letters whose event was applied after all, each with the replay that did it.
    pub resolved: Vec<(&'a str, Option<i64>)>,
    /// When the batch is applied.
    pub now: DateTime<Utc>,
}

/// What came of saving a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// How many earlier events turned out to be refused.
    pub refused_late: usize,
    /// What became of the main app's rows.
    pub projected: Projected,
}

/// What a batch reads and writes.
pub trait Storage: Source {
    /// Proof that no other writer is at work until the batch is committed.
    type Lock;

    /// Whether the main app is told of its rows' changes.
    fn outbox(&self) -> Outbox {
        Outbox::Off
    }

    /// Waits until no other writer is at work.
    ///
    /// # Errors
    /// The wait was too long, or the storage cannot be used.
    fn lock(&self) -> impl Future<Output = Result<Self::Lock, Self::Error>> + Send;

    /// Reads what is known of the batch's events. It is sent behind [`Storage::lock`], and
    /// may be sent before that has answered.
    ///
    /// # Errors
    /// The storage cannot be used.
    fn known(
        &self,
        deliveries: &[Delivery],
    ) -> impl Future<Output = Result<Known, Self::Error>> + Send;

    /// Saves what the batch changes: first what Stripe says, which nothing of the main app's
    /// can refuse, then the main app's rows as far as it lets us.
    ///
    /// # Errors
    /// The storage refuses a value, or cannot be used.
    fn save(
        &self,
        lock: &Self::Lock,
        changes: &BatchChanges<'_>,
    ) -> impl Future<Output = Result<Saved, Self::Error>> + Send;
}
