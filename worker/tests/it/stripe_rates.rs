//! How often Stripe is asked: never more often than the settings allow.

use std::{num::NonZeroU32, time::Duration};

use event::Mode;
use futures_util::future::join_all;
use harness::stripe_api::{Options, StandIn};
use serde_json::json;
use tokio::time::Instant;
use worker::{
    metrics::stripe::ApiMetrics,
    stripe::{client::Client, config::ApiConfig},
};

const FEW: NonZeroU32 = NonZeroU32::new(4).unwrap();
const MANY: NonZeroU32 = NonZeroU32::new(1000).unwrap();

fn client(api: &StandIn, rate: NonZeroU32, endpoint_rate: NonZeroU32) -> Client {
    let config = ApiConfig {
        rate,
        endpoint_rate,
        ..ApiConfig::new("sk_test_standin".into(), api.base_url().into(), Mode::Test)
    };
    Client::new(config, ApiMetrics::default(), None).unwrap()
}

/// Five requests at four a second take a second at least, by one limit or by the other.
#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_the_rate_of_the_platform_and_of_their_endpoint() {
    let api = StandIn::start(Options::default()).await.unwrap();
    let account = api.enabled_account("ES", &json!({})).into();
    for (rate, endpoint_rate, paths) in [(MANY, FEW, 1), (FEW, MANY, 2)] {
        api.forget_requests();
        let client = client(&api, rate, endpoint_rate);
        let began = Instant::now();
        let asked = (0..5).map(async |one| match one % paths {
            0 => client.accounts(None).await.map(drop),
            _ => client.account_object(&account).await.map(drop),
        });
        for answer in join_all(asked).await {
            answer.unwrap();
        }
        assert!(began.elapsed() >= Duration::from_secs(1), "{rate}");
        assert_eq!(api.requests().len(), 5);
    }
}
