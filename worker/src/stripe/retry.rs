//! Whether a request is sent again, and after which pause. No clock and no I/O.

use std::time::Duration;

use super::error::RateLimit;

/// The most tries of one request.
pub(super) const TRIES: u32 = 3;
/// The longest pause between two tries, as in Stripe's own libraries.
const LONGEST: Duration = Duration::from_secs(5);
/// The longest pause that is made because Stripe asks for it. Where it asks for a longer one,
/// whoever sent the command hears so and tries again later: to ask earlier would be refused.
const LONGEST_ASKED: Duration = Duration::from_secs(15);

/// How a try ended that did not succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ended {
    /// The status; `None` where no answer came.
    pub(super) status: Option<u16>,
    /// `Stripe-Should-Retry`.
    pub(super) should_retry: Option<bool>,
    /// `Retry-After`.
    pub(super) retry_after: Option<Duration>,
    /// Why the rate is limited, at a 429.
    pub(super) limit: Option<RateLimit>,
    /// Whether Stripe gave the first answer under this key once more: it will go on so.
    pub(super) is_replayed: bool,
}

/// The shortest and the longest pause before the next try; the pause is drawn between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) least: Duration,
    pub(super) most: Duration,
}

/// Decides after the `tries`th try; `None` where there is no further one. Stripe's word
/// counts first, then the status.
pub(super) fn after(ended: &Ended, tries: u32, first: Duration) -> Option<Pause> {
    let asked = ended.retry_after.unwrap_or_default();
    if tries >= TRIES || ended.is_replayed || asked > LONGEST_ASKED {
        return None;
    }
    let again = match (ended.should_retry, ended.status) {
        (Some(said), _) => said,
        (None, None) => true,
        (None, Some(status)) => ended.limit.is_some() || status == 409 || status >= 500,
    };
    if !again {
        return None;
    }
    // A rate is counted in seconds; who works on an object or takes a place is done sooner.
    let factor = match ended.limit {
        Some(RateLimit::GlobalRate | RateLimit::EndpointRate | RateLimit::ResourceSpecific) => 4,
        Some(
            RateLimit::GlobalConcurrency | RateLimit::EndpointConcurrency | RateLimit::LockTimeout,
        )
        | None => 1,
    };
    let most = (first * factor * 2_u32.pow(tries - 1)).min(LONGEST);
    Some(Pause {
        least: asked,
        most: most.max(asked),
    })
}

impl Pause {
    /// The pause at `share` of the way between its bounds, 0 to 1.
    pub(super) fn at(self, share: f64) -> Duration {
        self.least + (self.most - self.least).mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(500);

    fn status(status: u16) -> Ended {
        Ended {
            status: Some(status),
            ..Ended::default()
        }
    }

    #[test]
    fn conflicts_failures_limits_and_silence_are_tried_again_and_refusals_are_not() {
        for again in [
            status(409),
            status(500),
            status(503),
            Ended {
                limit: Some(RateLimit::GlobalRate),
                ..status(429)
            },
            // Some endpoints say so with 400.
            Ended {
                limit: Some(RateLimit::GlobalRate),
                ..status(400)
            },
            Ended::default(),
        ] {
            assert!(after(&again, 1, FIRST).is_some(), "{again:?}");
            assert_eq!(after(&again, TRIES, FIRST), None, "{again:?}");
        }
        for never in [400, 401, 402, 403, 404] {
            assert_eq!(after(&status(never), 1, FIRST), None, "{never}");
        }
    }

    #[test]
    fn what_stripe_says_of_retries_counts_before_the_status() {
        let said = |should_retry, code| Ended {
            should_retry: Some(should_retry),
            ..status(code)
        };
        assert!(after(&said(true, 400), 1, FIRST).is_some());
        assert_eq!(after(&said(false, 500), 1, FIRST), None);
        let replayed = Ended {
            is_replayed: true,
            ..status(500)
        };
        assert_eq!(
            after(&replayed, 1, FIRST),
            None,
            "the key keeps its first answer"
        );
    }

    #[test]
    fn pauses_grow_are_longer_for_rates_and_heed_retry_after() {
        let most = |ended: &Ended, tries| after(ended, tries, FIRST).unwrap().most;
        assert_eq!(most(&status(409), 1), FIRST);
        assert_eq!(most(&status(409), 2), 2 * FIRST);
        let limited = |limit| Ended {
            limit: Some(limit),
            ..status(429)
        };
        assert_eq!(most(&limited(RateLimit::GlobalRate), 1), 4 * FIRST);
        assert_eq!(most(&limited(RateLimit::LockTimeout), 1), FIRST);
        assert_eq!(most(&limited(RateLimit::EndpointRate), 2), 8 * FIRST);
        assert_eq!(most(&status(409), 2).max(LONGEST), LONGEST);
        let asked = Ended {
            retry_after: Some(Duration::from_secs(7)),
            ..status(503)
        };
        let pause = after(&asked, 1, FIRST).unwrap();
        assert_eq!((pause.at(0.0), pause.at(1.0)), (pause.least, pause.most));
        assert_eq!(pause.least, Duration::from_secs(7));
        let later = Ended {
            retry_after: Some(LONGEST_ASKED + Duration::from_secs(1)),
            ..asked
        };
        assert_eq!(after(&later, 1, FIRST), None, "never earlier than asked");
    }
}
