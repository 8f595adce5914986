//! Writes what decided claims mean for earlier events: events that are refused after all
//! become dead letters, dead letters that are accepted after all are resolved.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::{ids::BookingId, reclassify::Reclassified, rejection::Rejection, source::Recheck};
use store::{
    Error, WriteTx, archive,
    dead_letter::{self, Deaths, NewDeadLetter},
    event::{self, ChangedEvent, ReclassifiedEvents},
    event_query, late_outcome,
};
use tracing::warn;

use crate::dead_letters::death;

/// What decided claims mean for earlier events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LateChanges {
    /// The claims.
    pub reclassified: Reclassified,
    /// Why each booking's other claims are refused.
    pub why: BTreeMap<BookingId, Rejection>,
    /// The objects and rows whose claims were all compared again.
    pub rechecked: Recheck,
}

/// The most bodies that are in memory at once.
const MAX_BODIES: usize = 100;

/// Writes it, as far as one transaction does; the job `write_late_outcomes` writes the rest. Costs
/// nothing where no booking can have a new owner. Returns how many events were refused.
pub(super) async fn write(
    tx: &WriteTx<'_>,
    changes: &LateChanges,
    now: DateTime<Utc>,
) -> Result<usize, Error> {
    if changes.reclassified.is_empty() && changes.rechecked == Recheck::default() {
        return Ok(0);
    }
    // Rare, and large beside the batch that waits for it.
    Box::pin(reclassify(tx, changes, now)).await
}

async fn reclassify(
    tx: &WriteTx<'_>,
    changes: &LateChanges,
    now: DateTime<Utc>,
) -> Result<usize, Error> {
    // What has more than one transaction writes is its job's: events of it that follow cost
    // nothing.
    let noted = late_outcome::noted(tx, &named(&changes.reclassified)).await?;
    let mut now_written = changes.reclassified.clone();
    now_written.objects.retain(|one| {
        !noted.objects.contains(&one.object) || changes.rechecked.objects.contains(&one.object)
    });
    now_written.owners.retain(|one| {
        !noted.owners.contains(&one.booking) || changes.rechecked.owners.contains(&one.booking)
    });
    let ReclassifiedEvents { changed, more } = event::reclassify(tx, &now_written).await?;
    late_outcome::replace(tx, &changes.rechecked, &more).await?;
    let (refused, accepted): (Vec<_>, Vec<_>) =
        changed.into_iter().partition(ChangedEvent::is_dead);
    let resolved = accepted.iter().map(|event| (event.id.as_str(), None));
    dead_letter::resolve(tx, &resolved.collect::<Vec<_>>()).await?;
    for some in refused.chunks(MAX_BODIES) {
        record(tx, some, &changes.why, now).await?;
    }
    Ok(refused.len())
}

/// The objects and bookings of these claims.
fn named(reclassified: &Reclassified) -> Recheck {
    let objects = reclassified.objects.iter();
    let owners = reclassified.owners.iter();
    Recheck {
        objects: objects.map(|one| one.object.clone()).collect(),
        owners: owners.map(|one| one.booking).collect(),
        ..Recheck::default()
    }
}

/// Records the dead letters of events that were refused: the one that there is, or a new
/// one out of the archived bytes.
async fn record(
    tx: &WriteTx<'_>,
    refused: &[ChangedEvent],
    why: &BTreeMap<BookingId, Rejection>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let whys: BTreeMap<&str, Rejection> = refused
        .iter()
        .map(|event| {
            let booking = BookingId(event.booking);
            let why = why.get(&booking).cloned();
            let unknown = Rejection::BookingClaimedByOtherAccount {
                booking,
                holder: None,
            };
            (event.id.as_str(), why.unwrap_or(unknown))
        })
        .collect();
    let deaths = Deaths {
        ids: whys.keys().copied().collect(),
        details: whys.values().map(Rejection::to_string).collect(),
        reason: domain::rejection::CLAIMED_BY_OTHER_ACCOUNT,
        death_key: death::decision_key(now),
        at: now,
    };
    let reopened = dead_letter::reopen(tx, &deaths).await?;
    let ids = whys.keys().map(|id| (*id).to_owned());
    let ids: Vec<String> = ids.filter(|id| !reopened.contains(id)).collect();
    let mut bodies = archive::bodies(tx, &ids).await?;
    let rows = event_query::find_many(tx, &ids).await?;
    let letters = rows.iter().filter_map(|row| {
        let body = bodies.remove(&row.id)?;
        death::of_archived(row, &body, whys.get(row.id.as_str())?, now)
    });
    let letters: Vec<NewDeadLetter> = letters.collect();
    dead_letter::insert_many(tx, &letters).await?;
    // Of those without bytes the ledger alone says that they are dead.
    let (refused, without_bytes) = (refused.len(), ids.len() - letters.len());
    warn!(
        refused,
        without_bytes, "events turned out to name another account's booking"
    );
    Ok(())
}
