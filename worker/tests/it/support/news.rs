//! News for the main app: what is in the outbox, and what a queue gets of it.

use std::time::Duration;

use harness::test_servers::TestBroker;
use lapin::message::Delivery;
use serde_json::Value;
use shared::{amqp::AmqpUrl, topology::Names};
use store::outbox::Outbox;
use tokio_util::sync::CancellationToken;
use worker::{
    jobs::{Job, JobError, publish_changes::PublishChanges},
    metrics::changes::ChangeMetrics,
};

use super::Lab;

/// Bound for a message.
const BOUND: Duration = Duration::from_secs(30);

/// The news, in short: kind, key and version.
pub const TOLD: &str =
    "SELECT concat_ws(' ', kind, key, row_version) FROM stripe.outbox ORDER BY id";

/// A database whose worker tells the main app of changes.
pub async fn telling() -> Lab {
    let mut lab = Lab::new().await;
    lab.executor.outbox = Outbox::On;
    lab
}

/// What was told, in short.
pub async fn told(lab: &Lab) -> Vec<String> {
    lab.rows(TOLD).await
}

/// What the last piece of news says.
pub async fn last(lab: &Lab) -> Value {
    let text = "SELECT payload::text FROM stripe.outbox ORDER BY id DESC LIMIT 1";
    serde_json::from_str(&lab.rows(text).await[0]).unwrap()
}

/// How many rows are in each state.
pub async fn states(lab: &Lab) -> String {
    let query = "SELECT concat(state, ' ', count(*)) FROM stripe.outbox GROUP BY state ORDER BY 1";
    lab.rows(query).await.join(", ")
}

/// The job that publishes by this URL.
pub fn publisher(lab: &Lab, broker: &TestBroker, url: &str) -> PublishChanges {
    PublishChanges::new(
        lab.executor.pool.clone(),
        AmqpUrl::parse(url).unwrap(),
        Names::new(broker.prefix()).unwrap(),
        ChangeMetrics::default(),
    )
}

/// Runs the job once.
pub async fn publish(job: &mut PublishChanges) -> Result<(), JobError> {
    job.run_once(&CancellationToken::new()).await
}

/// Takes so many messages of a queue, and looks that there are no more.
pub async fn heard(broker: &TestBroker, queue: &str, count: u32) -> Vec<Delivery> {
    broker.until_depth(queue, count, BOUND).await.unwrap();
    broker.take_all(queue).await.unwrap()
}

/// What a message says.
pub fn data(message: &Delivery) -> Value {
    let body: Value = serde_json::from_slice(&message.data).unwrap();
    body["data"].clone()
}

/// The ids of messages.
pub fn ids(messages: &[Delivery]) -> Vec<String> {
    let id = |message: &Delivery| message.properties.message_id().clone().unwrap().to_string();
    messages.iter().map(id).collect()
}
