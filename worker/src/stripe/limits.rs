//! How often Stripe is asked: less often than it allows, so that a burst of commands waits
//! here and not in Stripe's refusals.

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
            all: RateLimiter::direct(Quota::per_second(config.rate)),
            endpoints: RateLimiter::hashmap(Quota::per_second(config.endpoint_rate)),
        }
    }

    /// Waits until a request to this endpoint may be sent.
    pub(super) async fn wait(&self, endpoint: &'static str) {
        self.endpoints.until_key_ready(&endpoint).await;
        self.all.until_ready().await;
    }
}
