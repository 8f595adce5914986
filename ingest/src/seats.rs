//! Who may stay connected when there are more clients than seats.
//!
//! Turning newcomers away would let anybody who holds enough connections keep
//! Stripe out. So the newcomer gets the seat of the client that has had one longest
//! without ever sending an authentic event, whatever it is sending now. Where there
//! is none, of one that did and is idle.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// The seats of a server.
#[derive(Debug)]
pub(crate) struct Seats {
    limit: usize,
    next: AtomicU64,
    taken: Mutex<Taken>,
}

/// Who can go, by number, so that the longest seated come first.
#[derive(Debug, Default)]
struct Taken {
    /// All seats, of those as well who cannot go.
    seats: usize,
    strangers: BTreeMap<u64, CancellationToken>,
    idle: BTreeMap<u64, CancellationToken>,
}

/// A connection's seat; free again when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    number: u64,
    is_known: AtomicBool,
    gone: CancellationToken,
    seats: Arc<Seats>,
}

/// A request at work: a client that is known keeps its seat meanwhile.
#[derive(Debug)]
pub(crate) struct AtWork<'a>(&'a Seat);

impl Seats {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            next: AtomicU64::new(0),
            taken: Mutex::default(),
        })
    }

    /// A seat for a new connection; the second value tells whether somebody else
    /// had to go. None where everybody is known and at work.
    pub(crate) fn take(self: &Arc<Self>) -> Option<(Seat, bool)> {
        let mut taken = self.taken();
        let is_full = taken.seats >= self.limit;
        if is_full && !taken.make_room() {
            return None;
        }
        let seat = Seat {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            is_known: AtomicBool::new(false),
            gone: CancellationToken::new(),
            seats: Arc::clone(self),
        };
        taken.seats += 1;
        taken.strangers.insert(seat.number, seat.gone.clone());
        Some((seat, is_full))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn make_room(&mut self) -> bool {
        let longest = self.strangers.pop_first().or_else(|| self.idle.pop_first());
        let Some((_, gone)) = longest else {
            return false;
        };
        gone.cancel();
        self.seats -= 1;
        true
    }
}

impl Seat {
    /// A request begins on this connection, which has one at a time.
    pub(crate) fn begin(&self) -> AtWork<'_> {
        if self.is_known() {
            self.seats.taken().idle.remove(&self.number);
        }
        AtWork(self)
    }

    /// An authentic event came on this connection, with the request at work.
    pub(crate) fn recognise(&self) {
        if !self.is_known.swap(true, Ordering::Relaxed) {
            self.seats.taken().strangers.remove(&self.number);
        }
    }

    fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// Waits until the seat is given to somebody else.
    pub(crate) async fn gone(&self) {
        self.gone.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        // Who had to go has no seat to give back.
        if !self.gone.is_cancelled() {
            taken.seats -= 1;
            taken.strangers.remove(&self.number);
            taken.idle.remove(&self.number);
        }
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let seat = self.0;
        if seat.is_known() {
            let mut taken = seat.seats.taken();
            if !seat.gone.is_cancelled() {
                taken.idle.insert(seat.number, seat.gone.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Seat, Seats};

    fn is_gone(seat: &Seat) -> bool {
        seat.gone.is_cancelled()
    }

    #[test]
    fn the_longest_seated_stranger_goes_first() {
        let seats = Seats::new(3);
        let [known, first, second] = [(); 3].map(|()| seats.take().unwrap().0);
        let at_work = known.begin();
        known.recognise();
        drop(at_work);
        let (third, somebody_went) = seats.take().unwrap();
        assert!(somebody_went && is_gone(&first) && !is_gone(&second));
        let (_fourth, _) = seats.take().unwrap();
        assert!(is_gone(&second) && !is_gone(&third) && !is_gone(&known));
        drop((first, second));
        assert!(seats.take().unwrap().1, "who went has no seat to give back");
    }

    /// Whoever sends slowly would otherwise keep its seat.
    #[test]
    fn a_strangers_request_keeps_no_seat() {
        let seats = Seats::new(2);
        let [known, stranger] = [(); 2].map(|()| seats.take().unwrap().0);
        let at_work = known.begin();
        known.recognise();
        drop(at_work);
        let _at_work = (known.begin(), stranger.begin());
        let (third, _) = seats.take().unwrap();
        assert!(is_gone(&stranger) && !is_gone(&known) && !is_gone(&third));
    }

    #[test]
    fn who_is_known_goes_last_and_only_when_idle() {
        let seats = Seats::new(2);
        let [first, second] = [(); 2].map(|()| seats.take().unwrap().0);
        let at_work = [first.begin(), second.begin()];
        first.recognise();
        second.recognise();
        assert!(seats.take().is_none(), "both are at work");
        drop(at_work);
        let again = first.begin();
        let (third, _) = seats.take().unwrap();
        assert!(is_gone(&second) && !is_gone(&first));
        drop((again, third));
        assert!(!seats.take().unwrap().1, "a seat is free again");
        drop(first);
        assert_eq!(seats.taken().seats, 0);
        drop(second);
        assert_eq!(seats.taken().seats, 0);
    }
}
