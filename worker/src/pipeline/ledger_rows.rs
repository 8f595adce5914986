//! The rows that say what became of a batch: the ledger's, the archive's and the dead
//! letters. Pure.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use domain::{
    decode::moment,
    event::{Event, IgnoreReason},
    outcome::Decision,
    rejection::Rejection,
};
use store::{
    archive_page::{ArchivePolicy, PageBuilder},
    dead_letter::NewDeadLetter,
    event::{DeliverySource, LedgerRow},
};

use crate::{
    dead_letters::death::{self, Dead},
    pipeline::{admission::Admission, decision::Decided},
};

/// The ids and bytes to archive: not those of events of the other mode, which nobody asks
/// for again, nor those that are archived already. A later release may handle the type of
/// an event that this one does not.
pub(super) fn to_archive<'a>(
    policy: ArchivePolicy,
    decided: &[Decided<'a>],
) -> Vec<(&'a str, &'a [u8])> {
    if policy == ArchivePolicy::Never {
        return Vec::new();
    }
    let is_archived = |one: &&Decided<'_>| {
        let is_new = matches!(
            one.admission,
            Admission::New | Admission::Retry { is_archived: false }
        );
        // An event that is dead for its claim alone may be accepted after all, and
        // refused again, whatever becomes of its dead letter meanwhile.
        let is_kept = matches!(
            one.decision,
            Decision::Applied
                | Decision::Stale
                | Decision::Ignored(IgnoreReason::UnhandledType)
                | Decision::Dead(Rejection::BookingClaimedByOtherAccount { .. })
        );
        is_new && is_kept
    };
    let archived = decided.iter().filter(is_archived);
    archived
        .filter_map(|one| Some((one.delivery.event_id()?, one.delivery.body.as_slice())))
        .collect()
}

/// A row of the ledger for each event that was decided and has a header.
pub(super) fn ledger_rows<'a>(
    decided: &[Decided<'a>],
    archive: &[PageBuilder<'_>],
) -> Vec<LedgerRow<'a>> {
    let pages: HashMap<&str, i64> = archive
        .iter()
        .flat_map(|page| page.ids().map(|id| (id, page.id)))
        .collect();
    decided
        .iter()
        .filter_map(|one| {
            let header = one.delivery.header()?;
            let event = one.delivery.decoded.as_ref().ok();
            let metadata = &one.delivery.metadata;
            Some(LedgerRow {
                id: &header.id,
                event_type: &header.event_type,
                account: header.account.as_deref(),
                api_version: header.api_version.as_deref(),
                livemode: header.livemode,
                created: moment(header.created),
                object_id: event.and_then(Event::object_id),
                booking: event.and_then(|event| event.claim()?.1.booking),
                outcome: one.decision.outcome()?,
                reason: one.decision.reason(),
                received_at: metadata.received_at,
                trace_id: metadata.trace_id.as_deref(),
                archive_page: pages.get(header.id.as_str()).copied(),
                source: match metadata.replay {
                    Some(_) => DeliverySource::Replay,
                    None => DeliverySource::Webhook,
                },
            })
        })
        .collect()
}

/// A dead letter for each event that cannot be applied, no two of one id.
pub(super) fn dead_letters(decided: &[Decided<'_>], now: DateTime<Utc>) -> Vec<NewDeadLetter> {
    let dead = decided.iter().filter_map(|one| match &one.decision {
        Decision::Dead(why) => {
            let dead = Dead {
                body: &one.delivery.body,
                routing_key: one.delivery.routing_key.as_str(),
                properties: &one.delivery.properties,
                is_readable: *why != Rejection::CrashesWorker || one.delivery.header().is_some(),
            };
            Some(death::of_event(dead, why, now))
        }
        _ => None,
    });
    let letters: BTreeMap<String, NewDeadLetter> =
        dead.map(|letter| (letter.id.clone(), letter)).collect();
    letters.into_values().collect()
}
