//! A worker that consumes events in this process, and lets dead letters lie.

use domain::{
    event::{self as events, Event, Rejected},
    rules::Rules,
};
use harness::{
    test_servers::TestBroker,
    wait::{self, Seen},
};
use shared::{
    amqp::AmqpUrl,
    topology::{Names, Role},
};
use store::{Database, archive_page::ArchivePolicy};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::{
    amqp::consumer::Queue,
    health::Health,
    metrics::Metrics,
    pipeline::{
        consumer::{self, Consumer},
        delivery::Decoder,
        executor::BatchExecutor,
    },
};

use super::{Lab, rules, running::BOUND};

/// A worker that consumes in this process.
pub struct Worker {
    pub stop: CancellationToken,
    pub health: Health,
    pub task: JoinHandle<Result<(), String>>,
}

impl Worker {
    pub fn start(broker: &TestBroker, amqp_url: &str, database_url: &str) -> Self {
        let names = Names::new(broker.prefix()).unwrap();
        Self::start_as(names, amqp_url, database_url, events::decode)
    }

    /// Starts one that decodes by this function.
    pub fn start_as(
        names: Names,
        amqp_url: &str,
        database_url: &str,
        decode: fn(&[u8], &Rules) -> Result<Event, Rejected>,
    ) -> Self {
        let (stop, health) = (CancellationToken::new(), Health::default());
        let pool = Database::parse(database_url).unwrap().pool();
        let mut executor = BatchExecutor::new(pool, None, ArchivePolicy::Compressed);
        executor.health = health.clone();
        let consumer = Consumer {
            queue: Queue {
                amqp: AmqpUrl::parse(amqp_url).unwrap(),
                name: names.worker.clone(),
                names,
                connection: "test",
                prefetch: consumer::PREFETCH,
                role: Role::Consumer,
            },
            decoder: Decoder {
                rules: rules(),
                decode,
            },
            executor,
            metrics: Metrics::default(),
            health: health.clone(),
        };
        let token = stop.clone();
        let task = tokio::spawn(async move {
            let ended = consumer.run(&token).await;
            ended.map_err(|error| shared::telemetry::report(&error))
        });
        Self { stop, health, task }
    }

    pub async fn consuming(self) -> Self {
        wait::until("a consuming worker", BOUND, async || {
            match (self.health.is_consuming(), self.task.is_finished()) {
                (true, _) => Seen::Reached(()),
                (false, true) => Seen::Never("it ended".into()),
                (false, false) => Seen::NotYet("not consuming".into()),
            }
        })
        .await
        .unwrap();
        self
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// Waits until `"Invoice"` has so many rows.
pub async fn until_rows(lab: &Lab, count: usize) {
    wait::until(format!("{count} rows"), BOUND, async || {
        match lab.invoices().await.len() {
            rows if rows == count => Seen::Reached(()),
            rows => Seen::NotYet(format!("{rows} rows")),
        }
    })
    .await
    .unwrap();
}

/// Stops the worker, which has acked everything and given up nothing.
pub async fn until_acked(broker: &TestBroker, worker: Worker) {
    // What was not acked is back in the queue once its consumer is gone.
    worker.stop().await;
    let (queue, dead) = (broker.worker_queue(), broker.dead());
    assert_eq!(broker.depth(&queue).await.unwrap(), 0, "left in the queue");
    assert_eq!(broker.depth(&dead).await.unwrap(), 0, "dead letters");
}
