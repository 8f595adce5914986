//! Which acks answer what is done. Pure.

/// One ack frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) tag: u64,
    /// It acks every delivery before this one as well.
    pub(super) multiple: bool,
}

/// The acks of deliveries that are done, given in the order in which they came.
/// One frame is enough where they are all of their batch (`whole`) and nothing
/// is deferred: then no delivery before the last of them is open.
pub(super) fn acks(done: &[u64], whole: bool, are_deferred: bool) -> Vec<Ack> {
    let multiple = whole && !are_deferred;
    let tags = match done {
        [.., last] if multiple => std::slice::from_ref(last),
        all => all,
    };
    let acks = tags.iter().map(|tag| Ack {
        tag: *tag,
        multiple,
    });
    acks.collect()
}

#[cfg(test)]
mod tests {
    use super::acks;
    use std::collections::BTreeSet;

    /// What becomes of a delivery.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Fate {
        Decided,
        Deferred,
        /// Its handler panics while it is read: it never gets into a batch.
        Unread,
        /// Its handler panics while it is decided.
        Crashed,
    }

    const FATES: [Fate; 4] = [Fate::Decided, Fate::Deferred, Fate::Unread, Fate::Crashed];

    /// Deliveries in one history, in batches of one to all of them.
    const DELIVERIES: u64 = 5;

    /// A consumer between two steps, and what the broker has not seen answered.
    #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
    struct State {
        delivered: u64,
        open: BTreeSet<u64>,
        deferred: Vec<u64>,
    }

    impl State {
        /// The states after one more step.
        fn next(&self) -> Vec<Self> {
            let mut next = Vec::new();
            for length in 1..=DELIVERIES - self.delivered {
                for fates in all(length) {
                    let mut state = self.clone();
                    let batch: Vec<u64> = (1..=length).map(|n| self.delivered + n).collect();
                    state.delivered += length;
                    state.open.extend(&batch);
                    state.answer(&batch, &fates);
                    next.push(state);
                }
            }
            for place in 0..self.deferred.len() {
                for fate in FATES {
                    let mut state = self.clone();
                    let tag = state.deferred.swap_remove(place);
                    state.answer(&[tag], &[fate]);
                    next.push(state);
                }
            }
            next
        }

        fn answer(&mut self, batch: &[u64], fates: &[Fate]) {
            let mut done = Vec::new();
            for (tag, fate) in batch.iter().zip(fates) {
                match fate {
                    Fate::Decided => done.push(*tag),
                    Fate::Deferred => self.deferred.push(*tag),
                    // Given back before anything is acked.
                    Fate::Unread | Fate::Crashed => assert!(self.open.remove(tag)),
                }
            }
            let unread = fates.iter().filter(|fate| **fate == Fate::Unread).count();
            let whole = done.len() == batch.len() - unread;
            for ack in acks(&done, whole, !self.deferred.is_empty()) {
                assert!(self.open.contains(&ack.tag), "acked twice: {self:?}");
                let acked = |open: &u64| *open == ack.tag || (ack.multiple && *open < ack.tag);
                self.open.retain(|open| !acked(open));
            }
            // All that is done is answered, and nothing besides.
            let deferred: BTreeSet<u64> = self.deferred.iter().copied().collect();
            assert_eq!(self.open, deferred);
        }
    }

    fn all(length: u64) -> Vec<Vec<Fate>> {
        (0..length).fold(vec![vec![]], |fates, _| {
            let longer = fates.iter().flat_map(|before| {
                FATES.map(|fate| before.iter().copied().chain([fate]).collect::<Vec<_>>())
            });
            longer.collect()
        })
    }

    #[test]
    fn every_history_acks_what_is_done_and_nothing_besides() {
        let (mut seen, mut open) = (BTreeSet::new(), vec![State::default()]);
        while let Some(state) = open.pop() {
            for next in state.next() {
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        assert!(seen.len() > 100, "{}", seen.len());
    }

    #[test]
    fn a_whole_unit_takes_one_frame() {
        assert_eq!(acks(&[3, 4, 5], true, false).len(), 1);
        assert_eq!(acks(&[3, 5], false, false).len(), 2);
        assert_eq!(acks(&[3, 4, 5], true, true).len(), 3);
        assert!(acks(&[], true, false).is_empty());
    }
}
