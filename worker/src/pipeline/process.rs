//! One batch, one transaction, a decision for each delivery.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::{
    history::AccountTransition, ids::AccountId, outcome::Decision, projection::Projection,
    reclassify::reclassified, source::Recheck, working_set::WorkingSet,
};
use futures_util::try_join;
use store::{archive_page::ArchivePolicy, outbox::Outbox};

use crate::pipeline::{
    admission::{Admitted, admit, admit_again},
    decision,
    delivery::Delivery,
    late_refusals::LateChanges,
    ledger_rows, replay_outcomes,
    storage::{BatchChanges, Saved, Storage},
};

/// What a batch is made of.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// The deliveries.
    pub deliveries: &'a [Delivery],
    /// Objects and rows to compute anew: what they waited for may be there now.
    pub recheck: &'a Recheck,
    /// Whether the bytes of applied events are archived.
    pub archive: ArchivePolicy,
}

/// What came of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchResult {
    /// A decision for each delivery, in their order.
    pub decisions: Vec<Decision>,
    /// What came of saving them.
    pub saved: Saved,
}

/// Applies a batch in the caller's transaction: all of its effects and the rows that say
/// so are committed together, or nothing is.
///
/// # Errors
/// As [`Storage`]; the transaction must not be committed then.
pub async fn process<S: Storage>(
    storage: &S,
    work: Work<'_>,
    now: DateTime<Utc>,
) -> Result<BatchResult, S::Error> {
    apply(storage, work, now, Taken::Once).await
}

/// As [`process`], for events whose effects were forgotten: each of them is merged, whatever the
/// ledger says. Those that end as before leave no other trace.
///
/// # Errors
/// As [`process`].
pub(super) async fn process_again<S: Storage>(
    storage: &S,
    work: Work<'_>,
    now: DateTime<Utc>,
) -> Result<BatchResult, S::Error> {
    apply(storage, work, now, Taken::Again).await
}

/// Whether events are taken for the first time, as far as their effects go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Once,
    Again,
}

async fn apply<S: Storage>(
    storage: &S,
    work: Work<'_>,
    now: DateTime<Utc>,
    taken: Taken,
) -> Result<BatchResult, S::Error> {
    let events = work.deliveries.iter().flat_map(|one| &one.decoded);
    let mut set = WorkingSet::for_events(events, work.recheck);
    // All in one round trip. Futures are polled in this order, and Postgres answers in
    // the order in which it is asked: what is read is read under the lock.
    let (lock, known, ()) = try_join!(
        storage.lock(),
        storage.known(work.deliveries),
        set.load_own(storage),
    )?;
    let admitted = match taken {
        Taken::Once => admit(work.deliveries, &known),
        Taken::Again => admit_again(work.deliveries),
    };
    let merged = decision::merge_all(&mut set, &admitted);
    // An event may have named objects that are not loaded yet. The main app's tables come
    // last: a lock of theirs must not keep what is loaded waiting.
    set.load(storage).await?;
    let projection = set.project();
    let mut decided = decision::decide_all(&set, &projection, &admitted, merged);
    if taken == Taken::Again {
        decided.retain(|one| decision::is_another(one, &known));
    }

    let archived = ledger_rows::to_archive(work.archive, &decided);
    let archive = store::archive_page::paginate(&archived, now);
    let (replay_notes, resolved) = replay_outcomes::of(&decided);
    let mut objects = set.changes(&projection, &rewritten(&admitted));
    if storage.outbox() == Outbox::On {
        objects.app.news = Some(set.booking_news(&projection, &objects.app));
    }
    let transitions = admitted.iter().filter_map(Admitted::event);
    let changes = BatchChanges {
        objects,
        transitions: transitions.filter_map(AccountTransition::of).collect(),
        ledger: ledger_rows::ledger_rows(&decided, &archive),
        archive: &archive,
        dead_letters: ledger_rows::dead_letters(&decided, now),
        late: late_changes(&set, &projection, work.recheck),
        replay_notes,
        resolved,
        now,
    };
    let saved = storage.save(&lock, &changes).await?;
    drop(changes);
    let decisions = decided.into_iter().map(|one| one.decision).collect();
    drop(projection);
    // Thousands of small pieces: they are freed while the storage commits.
    tokio::spawn(async move { drop(set) });
    Ok(BatchResult { decisions, saved })
}

fn late_changes(set: &WorkingSet, projection: &Projection<'_>, recheck: &Recheck) -> LateChanges {
    let reclassified = reclassified(set, projection);
    let of_objects = reclassified.objects.iter().map(|one| one.booking);
    let of_owners = reclassified.owners.iter().map(|one| one.booking);
    let bookings = of_objects.chain(of_owners);
    LateChanges {
        why: bookings
            .map(|booking| (booking, projection.claimed_by_other(booking)))
            .collect(),
        reclassified,
        rechecked: recheck.clone(),
    }
}

fn rewritten<'a>(admitted: &[Admitted<'a>]) -> BTreeSet<&'a AccountId> {
    let accounts = admitted.iter().filter_map(Admitted::account_to_rewrite);
    accounts.collect()
}
