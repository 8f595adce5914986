//! The broker of an earlier release, and the steps of docs/OPERATIONS.md that bring
//! it to this one.

use std::fs;

use harness::{
    http,
    private::PrivateFolder,
    servers::{RabbitMq, RabbitMqOptions, rabbitmq},
    services::{Service, ServiceOptions},
    stripe::{Event, now, sign},
    test_servers::TestDatabase,
    wait::{self, Seen},
};
use lapin::{
    BasicProperties, Channel, ExchangeKind,
    options::{
        BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
        QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};

use crate::support::{BOUND, SECRET, paid};

const QUEUE: &str = "stripe.events.worker";

/// A section of docs/OPERATIONS.md.
fn section(title: &str) -> &'static str {
    let text = include_str!("../../../docs/OPERATIONS.md");
    let section = text.split(&format!("\n## {title}\n")).nth(1).unwrap();
    section.split("\n## ").next().unwrap()
}

/// The two commands of the document: they delete the exchange, and the queue.
fn commands() -> [Vec<String>; 2] {
    let section = section("The broker of an earlier release");
    let lines = section.lines().filter_map(|line| {
        let line = line.trim_start().strip_prefix("rabbitmqctl ")?;
        // What stands between quotes is one argument.
        let parts = line.split('\'').enumerate();
        let words = parts.flat_map(|(index, part)| match index % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        });
        Some(words.collect())
    });
    let lines: Vec<Vec<String>> = lines.collect();
    lines.try_into().unwrap()
}

async fn run(node: &RabbitMq, command: &[String]) {
    let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
    node.ctl(&arguments).await.unwrap();
}

/// Makes the exchange and the queue of an earlier release, with one event in the queue.
async fn make_old_topology(channel: &Channel, event: &Event) {
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let (topic, none) = (ExchangeKind::Topic, FieldTable::default());
    let made = channel.exchange_declare("stripe.events".into(), topic, durable, none);
    made.await.unwrap();
    let text = |value: &str| AMQPValue::LongString(value.into());
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-dead-letter-exchange".into(), text("stripe.dead"));
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(20));
    let options = QueueDeclareOptions::durable();
    let made = channel.queue_declare(QUEUE.into(), options, arguments);
    made.await.unwrap();
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    let (exchange, key) = ("stripe.events".into(), event.kind.as_str().into());
    let bound = channel.queue_bind(QUEUE.into(), exchange, key, options, none);
    bound.await.unwrap();
    let select = ConfirmSelectOptions::default();
    channel.confirm_select(select).await.unwrap();
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let (exchange, key) = ("stripe.events".into(), event.kind.as_str().into());
    let (options, body) = (BasicPublishOptions::default(), event.bytes());
    let sent = channel.basic_publish(exchange, key, options, &body, persistent);
    sent.await.unwrap().await.unwrap();
}

struct Deployment {
    node: RabbitMq,
    database: TestDatabase,
    client: tokio_postgres::Client,
    folder: PrivateFolder,
}

impl Deployment {
    fn ingest(&self) -> ServiceOptions {
        ServiceOptions::ingest(self.folder.path())
            .unwrap()
            .env("AMQP_URL", self.node.url())
            .env("STRIPE_MODE", "test")
            .env("STRIPE_WEBHOOK_SECRETS", SECRET)
    }

    fn worker(&self) -> ServiceOptions {
        ServiceOptions::worker(self.folder.path())
            .unwrap()
            .env("AMQP_URL", self.node.url())
            .env("DATABASE_URL", self.database.url())
            .env("STRIPE_MODE", "test")
    }

    async fn until_applied(&self, id: &str) {
        wait::until(format!("{id} to be applied"), BOUND, async || {
            let query = "SELECT outcome FROM stripe.event WHERE id = $1";
            match self.client.query_opt(query, &[&id]).await.unwrap() {
                Some(row) if row.get::<_, String>(0) == "applied" => Seen::Reached(()),
                Some(row) => Seen::NotYet(row.get(0)),
                None => Seen::NotYet("not seen".to_owned()),
            }
        })
        .await
        .unwrap();
    }
}

/// Delivers as Stripe does: again where the answer is a 503, as that of a broker which is busy
/// with something else.
async fn deliver(ingest: &Service, event: &Event) {
    let body = event.bytes();
    wait::until("a 200", BOUND, async || {
        let signature = sign(SECRET, now(), &body);
        let answer = http::post_event(&ingest.url(), &signature, body.clone()).await;
        match answer.unwrap().status.as_u16() {
            200 => Seen::Reached(()),
            503 => Seen::NotYet("503".to_owned()),
            other => Seen::Never(other.to_string()),
        }
    })
    .await
    .unwrap();
}

/// The documented exchange of another service that knows patterns, and its queue, `partner`.
async fn import_partner(deployment: &Deployment) {
    let section = section("Another service that listens");
    let indented = |line: &&str| line.starts_with("    ") && !line.contains("rabbitmqctl");
    let definitions: Vec<&str> = section.lines().filter(indented).collect();
    let file = deployment.folder.path().join("partner.json");
    fs::write(&file, definitions.join("\n")).unwrap();
    let import = ["import_definitions", file.to_str().unwrap()];
    deployment.node.ctl(&import).await.unwrap();
}

/// The ids of the messages of a queue, which is empty then.
async fn take_all(channel: &Channel, queue: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let options = BasicGetOptions { no_ack: true };
    while let Some(message) = channel.basic_get(queue.into(), options).await.unwrap() {
        let id = message.properties.message_id().as_ref();
        ids.push(id.unwrap().to_string());
    }
    ids
}

/// Whether the service's log holds the warning of a queue with a limit.
fn warns_of_limit(options: &ServiceOptions) -> bool {
    let log = fs::read_to_string(options.log()).unwrap();
    let warned = |line: &str| line.contains("made with a delivery limit") && line.contains(QUEUE);
    log.lines().any(warned)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_steps_bring_an_earlier_releases_broker_here_and_lose_nothing() {
    let folder = PrivateFolder::make("broker-upgrade").unwrap();
    let node = RabbitMq::start(&folder.path().join("node"), RabbitMqOptions::default())
        .await
        .unwrap();
    let database = TestDatabase::empty("broker-upgrade").await.unwrap();
    let client = database.connect().await.unwrap();
    let connection = rabbitmq::connect(&node.url()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    make_old_topology(&channel, &paid(1)).await;
    let deployment = Deployment {
        node,
        database,
        client,
        folder,
    };
    let [delete_exchange, delete_queue] = commands();

    // Beside the old exchange neither starts, and both say what to do.
    for options in [deployment.ingest(), deployment.worker()] {
        let error = Service::start(options).await.unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("current is 'topic'"), "{text}");
        assert!(text.contains("delete the exchange"), "{text}");
    }

    // The queue keeps its event, and is taken with the limit that it has.
    run(&deployment.node, &delete_exchange).await;
    let mut worker = Service::start(deployment.worker()).await.unwrap();
    let mut ingest = Service::start(deployment.ingest()).await.unwrap();
    deployment.until_applied("evt_1").await;
    deliver(&ingest, &paid(2)).await;
    deployment.until_applied("evt_2").await;
    assert!(warns_of_limit(worker.options()));

    // Empty, the queue can be made anew.
    ingest.terminate().await.unwrap();
    worker.terminate().await.unwrap();
    run(&deployment.node, &delete_queue).await;
    fs::remove_file(worker.options().log()).unwrap();
    let mut worker = Service::start(deployment.worker()).await.unwrap();
    let mut ingest = Service::start(deployment.ingest()).await.unwrap();
    deliver(&ingest, &paid(3)).await;
    deployment.until_applied("evt_3").await;
    assert!(!warns_of_limit(worker.options()));

    // Another service hears by a pattern, of the types alone that it bound.
    import_partner(&deployment).await;
    for (id, kind) in [("evt_4", "invoice.paid"), ("evt_5", "invoice.sent")] {
        let mut event = paid(4);
        (event.id, event.kind) = (id.to_owned(), kind.to_owned());
        deliver(&ingest, &event).await;
        deployment.until_applied(id).await;
    }
    // One that was answered with 503 may have come, and comes again.
    let mut heard = take_all(&channel, "partner").await;
    heard.dedup();
    assert_eq!(heard, ["evt_4"]);
    ingest.terminate().await.unwrap();
    worker.terminate().await.unwrap();
}
