//! Who may stay connected when there are more clients than seats.
//!
//! Turning newcomers away would let anybody who holds enough silent connections
//! keep Stripe out. So the newcomer gets the seat of the client that has waited
//! longest without a request: of one that never sent an authentic event, as long
//! as there is one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// How many of the longest seated are looked at for one that can go: more would
/// make every connection dear while attackers hold all seats with requests.
const LOOKED_AT: usize = 64;

/// The seats of a server.
#[derive(Debug)]
pub(crate) struct Seats {
    limit: usize,
    next: AtomicU64,
    taken: Mutex<Taken>,
}

/// By number, so that the longest seated come first.
#[derive(Debug, Default)]
struct Taken {
    strangers: BTreeMap<u64, Arc<Guest>>,
    known: BTreeMap<u64, Arc<Guest>>,
}

#[derive(Debug, Default)]
struct Guest {
    is_known: AtomicBool,
    requests: AtomicUsize,
    gone: CancellationToken,
}

/// A connection's seat; free again when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    number: u64,
    guest: Arc<Guest>,
    seats: Arc<Seats>,
}

/// A request at work: its connection keeps its seat meanwhile.
#[derive(Debug)]
pub(crate) struct AtWork<'a>(&'a Guest);

impl Seats {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            next: AtomicU64::new(0),
            taken: Mutex::default(),
        })
    }

    /// A seat for a new connection; the second value tells whether somebody else
    /// had to go. None where everybody is at work.
    pub(crate) fn take(self: &Arc<Self>) -> Option<(Seat, bool)> {
        let mut taken = self.taken();
        let is_full = taken.strangers.len() + taken.known.len() >= self.limit;
        if is_full && !taken.make_room() {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let guest = Arc::<Guest>::default();
        taken.strangers.insert(number, Arc::clone(&guest));
        let seats = Arc::clone(self);
        let seat = Seat {
            number,
            guest,
            seats,
        };
        Some((seat, is_full))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Has one go who waits without a request.
    fn make_room(&mut self) -> bool {
        for guests in [&mut self.strangers, &mut self.known] {
            let idle = |guest: &&Arc<Guest>| guest.requests.load(Ordering::Acquire) == 0;
            let mut longest = guests.iter().take(LOOKED_AT);
            let number = longest.find(|(_, guest)| idle(guest)).map(|(n, _)| *n);
            if let Some(guest) = number.and_then(|number| guests.remove(&number)) {
                guest.gone.cancel();
                return true;
            }
        }
        false
    }
}

impl Seat {
    /// A request begins on this connection.
    pub(crate) fn begin(&self) -> AtWork<'_> {
        self.guest.requests.fetch_add(1, Ordering::AcqRel);
        AtWork(&self.guest)
    }

    /// An authentic event came on this connection.
    pub(crate) fn recognise(&self) {
        if self.guest.is_known.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut taken = self.seats.taken();
        if let Some(guest) = taken.strangers.remove(&self.number) {
            taken.known.insert(self.number, guest);
        }
    }

    /// Waits until the seat is given to somebody else.
    pub(crate) async fn gone(&self) {
        self.guest.gone.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.strangers.remove(&self.number);
        taken.known.remove(&self.number);
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::{Seat, Seats};

    fn is_gone(seat: &Seat) -> bool {
        seat.guest.gone.is_cancelled()
    }

    #[test]
    fn the_longest_idle_stranger_goes_first() {
        let seats = Seats::new(3);
        let [known, first, second] = [(); 3].map(|()| seats.take().unwrap().0);
        known.recognise();
        let (third, somebody_went) = seats.take().unwrap();
        assert!(somebody_went && is_gone(&first) && !is_gone(&second));
        let (_fourth, _) = seats.take().unwrap();
        assert!(is_gone(&second) && !is_gone(&third) && !is_gone(&known));
        drop((first, second));
        assert!(seats.take().unwrap().1, "who went has no seat to give back");
    }

    #[test]
    fn who_is_at_work_stays() {
        let seats = Seats::new(2);
        let [first, second] = [(); 2].map(|()| seats.take().unwrap().0);
        first.recognise();
        let at_work = [first.begin(), second.begin()];
        assert!(seats.take().is_none());
        drop(at_work);
        assert!(seats.take().is_some() && is_gone(&second));
        drop(first);
        assert!(!seats.take().unwrap().1, "a seat is free again");
    }
}
