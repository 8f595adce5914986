//! Detects a message that the broker never confirms while it confirms others.
//!
//! One of several queues that a message is routed to may have lost its majority.
//! Each such message keeps its in-flight permit, until there is none left for any
//! other message.

use std::time::Duration;
use tokio::time::Instant;

/// How long one message may be the oldest in flight. Its request was answered
/// with 503 long before.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The number of the oldest message in flight, and since when it is the oldest.
#[derive(Debug, Default)]
pub(super) struct StallDetector(Option<(u64, Instant)>);

impl StallDetector {
    /// Records the number of the oldest message in flight. Returns whether it has
    /// been the oldest for too long.
    pub(super) fn is_stalled(&mut self, oldest: Option<u64>, now: Instant) -> bool {
        match (oldest, self.0) {
            (Some(oldest), Some((known, since))) if oldest == known => now - since > STALL_TIMEOUT,
            (oldest, _) => {
                self.0 = oldest.map(|oldest| (oldest, now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{STALL_TIMEOUT, StallDetector};
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn only_the_same_message_for_long_is_a_stall() {
        let (mut stall, start) = (StallDetector::default(), Instant::now());
        let later = |seconds| start + STALL_TIMEOUT + Duration::from_secs(seconds);
        assert!(!stall.is_stalled(Some(1), start));
        assert!(!stall.is_stalled(Some(1), start + STALL_TIMEOUT));
        assert!(
            !stall.is_stalled(Some(2), later(1)),
            "another is the oldest"
        );
        assert!(!stall.is_stalled(None, later(2)), "nothing is in flight");
        assert!(!stall.is_stalled(Some(2), later(3)), "it counts anew");
        assert!(stall.is_stalled(Some(2), later(4) + STALL_TIMEOUT));
    }
}
