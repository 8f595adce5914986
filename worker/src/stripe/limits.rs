//! How often Stripe is asked: less often than it allows, so that a burst of commands waits
//! here and not in Stripe's refusals.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::config::ApiConfig;

/// The limits of one process.
#[derive(Debug)]
pub(super) struct Limits {
    all: DefaultDirectRateLimiter,
    endpoints: DefaultKeyedRateLimiter<&'static str>,
}

impl Limits {
    pub(super) fn new(config: &ApiConfig) -> Self {
        Self {
            all: RateLimiter::direct(quota(config.rate)),
            endpoints: RateLimiter::hashmap(quota(config.endpoint_rate)),
        }
    }

    /// Waits until a request to this endpoint may be sent.
    pub(super) async fn wait(&self, endpoint: &'static str) {
        self.endpoints.until_key_ready(&endpoint).await;
        self.all.until_ready().await;
    }
}

/// At most `rate` requests in any second, one after another, and as many where there are enough. A
/// quota that lets them through at once lets through nearly as many again within the same second.
fn quota(rate: NonZeroU32) -> Quota {
    Quota::per_second(rate).allow_burst(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;

    use super::*;

    /// The milliseconds at which requests go out, where one is always waiting.
    fn sent(rate: u32, for_ms: u64) -> Vec<u64> {
        let clock = FakeRelativeClock::default();
        let rate = NonZeroU32::new(rate).unwrap();
        let limiter = RateLimiter::direct_with_clock(quota(rate), clock.clone());
        let mut sent = Vec::new();
        for at in 0..for_ms {
            while limiter.check().is_ok() {
                sent.push(at);
            }
            clock.advance(Duration::from_millis(1));
        }
        sent
    }

    #[test]
    fn no_second_has_more_requests_than_the_rate_allows() {
        for rate in [1, 3, 7, 25, 100] {
            let sent = sent(rate, 5000);
            for from in &sent {
                let second = *from..from + 1000;
                let within = sent.iter().filter(|at| second.contains(at)).count();
                assert!(within <= usize::try_from(rate).unwrap(), "{rate} at {from}");
            }
            // As many go out as may, but for what the steps of this clock round away.
            let all = u32::try_from(sent.len()).unwrap();
            assert!(all * 10 >= rate * 5 * 9, "{rate}: {all}");
        }
    }
}
