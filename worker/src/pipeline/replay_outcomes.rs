//! What a batch means for operators: what came of the items of their replays, and which
//! dead letters are resolved. Pure.

use std::collections::BTreeSet;

use domain::outcome::Decision;
use store::replay_item::Note;

use crate::pipeline::decision::Decided;

/// Dead letters whose event was applied after all, each with the replay that did it.
type Resolved<'a> = Vec<(&'a str, Option<i64>)>;

/// What came of each item, and the dead letters that are resolved.
pub(super) fn of<'a>(decided: &[Decided<'a>]) -> (Vec<Note<'a>>, Resolved<'a>) {
    let (mut notes, mut resolved) = (Vec::new(), Vec::new());
    let mut noted = BTreeSet::new();
    for one in decided {
        let replay = one.delivery.metadata.replay.as_ref();
        // Its message can come twice in one batch: the first outcome counts.
        if let Some(item) = replay.filter(|item| noted.insert(*item)) {
            notes.push(Note {
                item,
                outcome: one.decision.as_str(),
                reason: one.decision.reason(),
            });
        }
        if matches!(one.decision, Decision::Dead(_)) {
            continue;
        }
        // Where the bytes could not be read, the dead letter's id is not the event's.
        if let Some(item) = replay {
            resolved.push((item.item.as_str(), Some(item.run)));
        }
        if one.admission.is_retry()
            && let Some(id) = one.delivery.event_id()
        {
            resolved.push((id, replay.map(|item| item.run)));
        }
    }
    (notes, resolved)
}
