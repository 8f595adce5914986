//! What becomes of each delivery of a batch. Pure.

use domain::{
    merge::Change,
    outcome::{Decision, Outcome, decide},
    projection::Projection,
    working_set::WorkingSet,
};

use crate::pipeline::{
    admission::{Admission, Admitted, Known},
    delivery::Delivery,
};

/// A delivery and its decision.
#[derive(Debug)]
pub(super) struct Decided<'a> {
    pub(super) delivery: &'a Delivery,
    pub(super) admission: Admission,
    pub(super) decision: Decision,
}

/// What merging an event changed; `None` where there was nothing to merge.
pub(super) type Merged = Option<Change>;

/// Merges the events that are admitted into the working set, in their order.
pub(super) fn merge_all(set: &mut WorkingSet, admitted: &[Admitted<'_>]) -> Vec<Merged> {
    let merge = |one: &Admitted<'_>| one.event().map(|event| set.merge(event));
    admitted.iter().map(merge).collect()
}

/// Decides each delivery, in their order.
pub(super) fn decide_all<'a>(
    set: &WorkingSet,
    projection: &Projection<'_>,
    admitted: &[Admitted<'a>],
    merged: Vec<Merged>,
) -> Vec<Decided<'a>> {
    let decide_one = |(one, merged): (&Admitted<'a>, Merged)| Decided {
        delivery: one.delivery,
        admission: one.admission,
        decision: match (one.admission, &one.delivery.decoded) {
            (Admission::Duplicate, _) => Decision::Duplicate,
            (_, Err(rejected)) => Decision::Dead(rejected.rejection.clone()),
            (admission, Ok(event)) => {
                let change = merged.unwrap_or(Change::Unchanged);
                decide(set, projection, event, change, admission.is_retry())
            }
        },
    };
    admitted.iter().zip(merged).map(decide_one).collect()
}

/// Whether the decision says something else than the ledger does.
pub(super) fn is_another(decided: &Decided<'_>, known: &Known) -> bool {
    let before = decided
        .delivery
        .event_id()
        .and_then(|id| known.events.get(id));
    let before = before.map(|event| event.outcome);
    match &decided.decision {
        Decision::Applied | Decision::Stale | Decision::Duplicate => {
            !matches!(before, Some(Outcome::Applied | Outcome::Stale))
        }
        Decision::Dead(_) => before != Some(Outcome::Dead),
        Decision::Ignored(_) => before != Some(Outcome::Ignored),
    }
}
