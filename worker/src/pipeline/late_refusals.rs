//! Writes what decided claims mean for earlier events: events that are refused after all
//! become dead letters, dead letters that are accepted after all are resolved.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::{ids::BookingId, reclassify::Reclassified, rejection::Rejection};
use store::{
    Error, WriteTx, archive,
    dead_letter::{self, Deaths, NewDeadLetter},
    event::{self, ChangedEvent},
    event_query,
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
}

/// The most bodies that are in memory at once.
const MAX_BODIES: usize = 100;

/// Writes it. Costs nothing where no booking can have a new owner. Gives back how many
/// events were refused.
pub(super) async fn write(
    tx: &WriteTx<'_>,
    changes: &LateChanges,
    now: DateTime<Utc>,
) -> Result<usize, Error> {
    if changes.reclassified.is_empty() {
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
    let changed = event::reclassify(tx, &changes.reclassified).await?;
    let (refused, accepted): (Vec<_>, Vec<_>) =
        changed.into_iter().partition(ChangedEvent::is_dead);
    let resolved = accepted.iter().map(|event| (event.id.as_str(), None));
    dead_letter::resolve(tx, &resolved.collect::<Vec<_>>()).await?;
    for some in refused.chunks(MAX_BODIES) {
        record(tx, some, &changes.why, now).await?;
    }
    Ok(refused.len())
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
