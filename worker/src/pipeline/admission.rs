//! Which events of a batch still have to have their effect.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    event::{Event, EventData},
    ids::AccountId,
    outcome::Outcome,
};
use store::{event::KnownEvent, replay_item::ReplayItemKey};

use crate::pipeline::delivery::Delivery;

/// Whether an event still has to have its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is seen for the first time.
    New,
    /// It was dead or ignored, and is decided again.
    Retry {
        /// Whether its bytes were archived then.
        is_archived: bool,
    },
    /// It had its effect, and an operator's replay wants it decided again.
    Forced,
    /// It had its effect, or has it earlier in this batch.
    Duplicate,
}

impl Admission {
    /// Whether the event was decided before and is decided again.
    pub fn is_retry(self) -> bool {
        matches!(self, Self::Retry { .. } | Self::Forced)
    }
}

/// What is known of a batch's events before it is applied.
#[derive(Debug, Default)]
pub struct Known {
    /// The events that the ledger has, by id.
    pub events: BTreeMap<String, KnownEvent>,
    /// The items of replays of events that are not decided yet.
    pub open_items: BTreeSet<ReplayItemKey>,
}

/// A delivery of a batch, and whether its event is admitted.
#[derive(Clone, Copy, Debug)]
pub struct Admitted<'a> {
    /// The delivery.
    pub delivery: &'a Delivery,
    /// Whether its event still has to have its effect.
    pub admission: Admission,
}

impl<'a> Admitted<'a> {
    /// The event to apply; `None` for a duplicate and for one that was not decoded.
    pub fn event(&self) -> Option<&'a Event> {
        match self.admission {
            Admission::Duplicate => None,
            Admission::New | Admission::Retry { .. } | Admission::Forced => {
                self.delivery.decoded.as_ref().ok()
            }
        }
    }

    /// The account whose rows are written anew, because its event is decided again: they
    /// may be gone, or of an older rule.
    pub fn account_to_rewrite(&self) -> Option<&'a AccountId> {
        match &self.delivery.decoded.as_ref().ok()?.data {
            EventData::Account(data) if self.admission.is_retry() => Some(&data.id),
            EventData::Account(_)
            | EventData::Invoice(_)
            | EventData::CheckoutSession(_)
            | EventData::Charge(_)
            | EventData::CreditNote(_)
            | EventData::Ignored(_) => None,
        }
    }
}

/// Admits the deliveries of a batch, in their order.
pub fn admit<'a>(deliveries: &'a [Delivery], known: &Known) -> Vec<Admitted<'a>> {
    let decodable: BTreeSet<&str> = deliveries
        .iter()
        .filter(|delivery| delivery.decoded.is_ok())
        .filter_map(Delivery::event_id)
        .collect();
    let mut admitted: BTreeSet<&str> = BTreeSet::new();
    let admit = |delivery: &'a Delivery| {
        let Some(id) = delivery.event_id() else {
            return Admission::New;
        };
        // Two endpoints can bring one event in two API versions.
        if delivery.decoded.is_err() && decodable.contains(id) {
            return Admission::Duplicate;
        }
        let admission = match known.events.get(id) {
            None => Admission::New,
            Some(event) => of_known(delivery, *event, known),
        };
        if admission != Admission::Duplicate && !admitted.insert(id) {
            return Admission::Duplicate;
        }
        admission
    };
    let admissions: Vec<Admission> = deliveries.iter().map(admit).collect();
    deliveries
        .iter()
        .zip(admissions)
        .map(|(delivery, admission)| Admitted {
            delivery,
            admission,
        })
        .collect()
}

/// Admits every delivery: the effects of their events were forgotten.
pub fn admit_again(deliveries: &[Delivery]) -> Vec<Admitted<'_>> {
    let admit = |delivery| Admitted {
        delivery,
        admission: Admission::Forced,
    };
    deliveries.iter().map(admit).collect()
}

fn of_known(delivery: &Delivery, event: KnownEvent, known: &Known) -> Admission {
    let is_ignored = matches!(&delivery.decoded, Ok(event) if event.is_ignored());
    let replay = delivery.metadata.replay.as_ref();
    let is_forced = replay.is_some_and(|item| known.open_items.contains(item));
    let is_archived = event.is_archived;
    match event.outcome {
        Outcome::Dead | Outcome::Replayed => Admission::Retry { is_archived },
        // Another mode or an older release ignored it.
        Outcome::Ignored if !is_ignored => Admission::Retry { is_archived },
        _ if is_forced => Admission::Forced,
        Outcome::Applied | Outcome::Stale | Outcome::Ignored => Admission::Duplicate,
    }
}
