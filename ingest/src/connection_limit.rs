//! Which client connections stay open when more clients connect than the limit
//! allows.
//!
//! If the server rejected new connections, anyone who held enough of them could
//! keep Stripe out. So the new connection takes the slot of the oldest
//! unverified connection: one that has not sent an authentic event yet, even if
//! it is sending a request now. If every connection is verified, the new one
//! takes the slot of the oldest that is idle.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// The connection slots of a server.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    limit: usize,
    next_number: AtomicU64,
    slots: Mutex<Slots>,
}

/// The slots in use. Both maps are ordered by slot number, so the oldest slot
/// comes first.
#[derive(Debug, Default)]
struct Slots {
    /// All slots in use, including the ones that cannot be evicted.
    in_use: usize,
    unverified: BTreeMap<u64, CancellationToken>,
    /// Verified connections without an active request.
    idle: BTreeMap<u64, CancellationToken>,
}

/// The slot of one connection. Dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    number: u64,
    is_verified: AtomicBool,
    evicted: CancellationToken,
    limit: Arc<ConnectionLimit>,
}

/// A slot, and whether another connection was evicted for it.
#[derive(Debug)]
pub(crate) struct Acquired {
    pub(crate) slot: ConnectionSlot,
    pub(crate) has_evicted: bool,
}

/// An active request. A verified connection is not evicted during one.
#[derive(Debug)]
pub(crate) struct ActiveRequest<'a>(&'a ConnectionSlot);

impl ConnectionLimit {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            next_number: AtomicU64::new(0),
            slots: Mutex::default(),
        })
    }

    /// Returns a slot for a new connection, or `None` if all slots are in use
    /// by verified connections with an active request.
    pub(crate) fn acquire(self: &Arc<Self>) -> Option<Acquired> {
        let mut slots = self.slots();
        let is_full = slots.in_use >= self.limit;
        if is_full && !slots.evict_oldest() {
            return None;
        }
        let slot = ConnectionSlot {
            number: self.next_number.fetch_add(1, Ordering::Relaxed),
            is_verified: AtomicBool::new(false),
            evicted: CancellationToken::new(),
            limit: Arc::clone(self),
        };
        slots.in_use += 1;
        slots.unverified.insert(slot.number, slot.evicted.clone());
        Some(Acquired {
            slot,
            has_evicted: is_full,
        })
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    /// Evicts one connection. Returns whether there was one to evict.
    fn evict_oldest(&mut self) -> bool {
        let oldest = self.unverified.pop_first();
        let Some((_, evicted)) = oldest.or_else(|| self.idle.pop_first()) else {
            return false;
        };
        evicted.cancel();
        self.in_use -= 1;
        true
    }
}

impl ConnectionSlot {
    /// Marks the start of a request. HTTP/1 has one active request on a
    /// connection at a time.
    pub(crate) fn begin_request(&self) -> ActiveRequest<'_> {
        if self.is_verified() {
            self.limit.slots().idle.remove(&self.number);
        }
        ActiveRequest(self)
    }

    /// Records that the active request carried an authentic event.
    pub(crate) fn mark_verified(&self) {
        if !self.is_verified.swap(true, Ordering::Relaxed) {
            self.limit.slots().unverified.remove(&self.number);
        }
    }

    fn is_verified(&self) -> bool {
        self.is_verified.load(Ordering::Relaxed)
    }

    /// Waits until the connection is evicted.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut slots = self.limit.slots();
        // Eviction has freed the slot already.
        if !self.evicted.is_cancelled() {
            slots.in_use -= 1;
            slots.unverified.remove(&self.number);
            slots.idle.remove(&self.number);
        }
    }
}

impl Drop for ActiveRequest<'_> {
    fn drop(&mut self) {
        let slot = self.0;
        if slot.is_verified() {
            let mut slots = slot.limit.slots();
            // The lock orders this check with an eviction: an evicted slot must
            // not be listed as idle.
            if !slot.evicted.is_cancelled() {
                slots.idle.insert(slot.number, slot.evicted.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectionLimit, ConnectionSlot};
    use std::sync::Arc;

    fn is_evicted(slot: &ConnectionSlot) -> bool {
        slot.evicted.is_cancelled()
    }

    fn acquire(limit: &Arc<ConnectionLimit>) -> (ConnectionSlot, bool) {
        let acquired = limit.acquire().unwrap();
        (acquired.slot, acquired.has_evicted)
    }

    #[test]
    fn the_oldest_unverified_connection_is_evicted_first() {
        let limit = ConnectionLimit::new(3);
        let [verified, first, second] = [(); 3].map(|()| acquire(&limit).0);
        let request = verified.begin_request();
        verified.mark_verified();
        drop(request);
        let (third, has_evicted) = acquire(&limit);
        assert!(has_evicted && is_evicted(&first) && !is_evicted(&second));
        let (_fourth, _) = acquire(&limit);
        assert!(is_evicted(&second) && !is_evicted(&third) && !is_evicted(&verified));
        drop((first, second));
        assert!(acquire(&limit).1, "an evicted connection frees no slot");
    }

    /// A client that sends slowly would otherwise keep its slot.
    #[test]
    fn an_unverified_connection_is_evicted_during_a_request() {
        let limit = ConnectionLimit::new(2);
        let [verified, unverified] = [(); 2].map(|()| acquire(&limit).0);
        let request = verified.begin_request();
        verified.mark_verified();
        drop(request);
        let _requests = (verified.begin_request(), unverified.begin_request());
        let (third, _) = acquire(&limit);
        assert!(is_evicted(&unverified) && !is_evicted(&verified) && !is_evicted(&third));
    }

    #[test]
    fn a_verified_connection_is_evicted_last_and_only_when_idle() {
        let limit = ConnectionLimit::new(2);
        let [first, second] = [(); 2].map(|()| acquire(&limit).0);
        let requests = [first.begin_request(), second.begin_request()];
        first.mark_verified();
        second.mark_verified();
        assert!(limit.acquire().is_none(), "both have an active request");
        drop(requests);
        let again = first.begin_request();
        let (third, _) = acquire(&limit);
        assert!(is_evicted(&second) && !is_evicted(&first));
        drop((again, third));
        assert!(!acquire(&limit).1, "a slot is free again");
        drop(first);
        assert_eq!(limit.slots().in_use, 0);
        drop(second);
        assert_eq!(limit.slots().in_use, 0);
    }
}
