//! The consumer of commands on a broker.

use harness::test_servers::TestBroker;
use shared::{
    amqp::AmqpUrl,
    topology::{Names, Role},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::{
    amqp::consumer::Queue,
    commands::{
        consumer::{CommandConsumer, PREFETCH},
        service::CommandService,
    },
    metrics::commands::CommandMetrics,
};

/// A consumer of commands that runs in this process.
pub struct Answering {
    pub metrics: CommandMetrics,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Answering {
    pub fn start(broker: &TestBroker, service: &CommandService) -> Self {
        let names = Names::new(broker.prefix()).unwrap();
        let (stop, metrics) = (CancellationToken::new(), CommandMetrics::default());
        let consumer = CommandConsumer {
            queue: Queue {
                amqp: AmqpUrl::parse(broker.url()).unwrap(),
                name: names.commands.clone(),
                names,
                connection: "test",
                prefetch: PREFETCH,
                role: Role::Commands,
            },
            service: service.clone(),
            metrics: metrics.clone(),
        };
        let token = stop.clone();
        let task = tokio::spawn(async move { consumer.run(&token).await });
        Self {
            metrics,
            stop,
            task,
        }
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// It dies in the middle of what it does.
    pub fn die(self) {
        self.task.abort();
    }
}
