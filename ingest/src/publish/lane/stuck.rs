//! Whether a message is never answered, while others are.
//!
//! One of several queues that a message goes to may have lost its majority. Each
//! such message would keep its place among those in flight, until there is none
//! left for any other.

use std::time::Duration;
use tokio::time::Instant;

/// How long a message may be the oldest in flight. Whoever waits for it was told
/// 503 long before.
const PATIENCE: Duration = Duration::from_secs(60);

/// The oldest message in flight, and since when it is.
#[derive(Debug, Default)]
pub(super) struct Stuck(Option<(u64, Instant)>);

impl Stuck {
    /// Looks at the number of the oldest message in flight.
    pub(super) fn is_stuck(&mut self, oldest: Option<u64>, now: Instant) -> bool {
        match (oldest, self.0) {
            (Some(oldest), Some((known, since))) if oldest == known => now - since > PATIENCE,
            (oldest, _) => {
                self.0 = oldest.map(|oldest| (oldest, now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{PATIENCE, Stuck};
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn only_the_same_message_for_long_is_stuck() {
        let (mut stuck, start) = (Stuck::default(), Instant::now());
        let later = |seconds| start + PATIENCE + Duration::from_secs(seconds);
        assert!(!stuck.is_stuck(Some(1), start));
        assert!(!stuck.is_stuck(Some(1), start + PATIENCE));
        assert!(!stuck.is_stuck(Some(2), later(1)), "another is the oldest");
        assert!(!stuck.is_stuck(None, later(2)), "nothing is in flight");
        assert!(!stuck.is_stuck(Some(2), later(3)), "it counts anew");
        assert!(stuck.is_stuck(Some(2), later(4) + PATIENCE));
    }
}
