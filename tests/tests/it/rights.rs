//! Both services with the broker users of docs/OPERATIONS.md and an app with the one of
//! docs/MAIN_APP.md, and what these users cannot do.

mod news;
mod refused;
mod too_few;

use std::process::Output;

use harness::{
    broker_rights, http,
    private::PrivateFolder,
    servers::{RabbitMq, RabbitMqOptions, rabbitmq},
    services::{self, Service, ServiceOptions},
    stripe::{Event, Invoice, now, sign},
    test_servers::TestDatabase,
    wait::{self, Seen},
};
use lapin::{
    Channel,
    options::{QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions},
    types::FieldTable,
};

use serde_json::json;

use crate::support::{BOUND, SECRET, ask, until_answered};

const PREFIX: &str = "eu.";
const PASSWORD: &str = "password-of-both";

const OPERATIONS: &str = include_str!("../../../docs/OPERATIONS.md");
const MAIN_APP: &str = include_str!("../../../docs/MAIN_APP.md");

/// The commands below a heading of a document, with this test's prefix and passwords.
fn commands(document: &str, heading: &str) -> Vec<Vec<String>> {
    broker_rights::commands(document, heading, PREFIX, PASSWORD)
}

async fn run(node: &RabbitMq, commands: &[Vec<String>]) {
    broker_rights::run(node, commands).await.unwrap();
}

struct Deployment {
    node: RabbitMq,
    database: TestDatabase,
    client: tokio_postgres::Client,
    folder: PrivateFolder,
}

impl Deployment {
    async fn start() -> Self {
        let folder = PrivateFolder::make("rights").unwrap();
        let node = RabbitMq::start(&folder.path().join("node"), RabbitMqOptions::default())
            .await
            .unwrap();
        let database = TestDatabase::empty("rights").await.unwrap();
        Self {
            client: database.connect().await.unwrap(),
            node,
            database,
            folder,
        }
    }

    fn url(&self, user: &str) -> String {
        self.url_in("%2f", user)
    }

    fn url_in(&self, virtual_host: &str, user: &str) -> String {
        let port = self.node.port();
        format!("amqp://{user}:{PASSWORD}@127.0.0.1:{port}/{virtual_host}")
    }

    async fn channel(&self, user: &str) -> (lapin::Connection, Channel) {
        self.channel_to(&self.url(user)).await
    }

    async fn channel_to(&self, url: &str) -> (lapin::Connection, Channel) {
        let connection = rabbitmq::connect(url).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        (connection, channel)
    }

    fn ingest(&self) -> Service {
        Service::spawn(self.ingest_named("ingest")).unwrap()
    }

    fn ingest_named(&self, name: &str) -> ServiceOptions {
        ServiceOptions::ingest(&self.folder.path().join(name))
            .unwrap()
            .env("AMQP_URL", self.url("dialoom_ingest"))
            .env("AMQP_PREFIX", PREFIX)
            .env("STRIPE_MODE", "test")
            .env("STRIPE_WEBHOOK_SECRETS", SECRET)
    }

    fn worker_options(&self) -> ServiceOptions {
        ServiceOptions::worker(self.folder.path())
            .unwrap()
            .env("AMQP_URL", self.url("dialoom_worker"))
            .env("AMQP_PREFIX", PREFIX)
            .env("DATABASE_URL", self.database.url())
            .env("STRIPE_MODE", "test")
    }

    /// Starts the worker, with a virtual host of commands where one is named.
    async fn worker(&self, commands: Option<&str>) -> Service {
        let commands = commands.unwrap_or_default();
        let options = self.worker_options().env("COMMANDS_AMQP_URL", commands);
        Service::start(options).await.unwrap()
    }

    async fn until(&self, query: &str, expected: &str) {
        wait::until(expected, BOUND, async || {
            let row = self.client.query_opt(query, &[]).await.unwrap();
            let seen = row.map(|row| row.get::<_, String>(0)).unwrap_or_default();
            match seen == expected {
                true => Seen::Reached(()),
                false => Seen::NotYet(seen),
            }
        })
        .await
        .unwrap();
    }

    async fn replay(&self) -> Output {
        tokio::process::Command::new(services::binary("worker").unwrap())
            .args(["dead-letters", "replay", "--all", "--yes", "--follow"])
            .env_clear()
            .env("AMQP_URL", self.url("dialoom_worker"))
            .env("AMQP_PREFIX", PREFIX)
            .env("DATABASE_URL", self.database.url())
            .output()
            .await
            .unwrap()
    }
}

async fn deliver(ingest: &Service, id: &str, booking: &str) -> u16 {
    let invoice = Invoice {
        id: format!("in_{id}"),
        booking: Some(booking.into()),
        ..Invoice::default()
    };
    let event = Event::new(id, "invoice.paid", invoice.value());
    let body = event.bytes();
    let signature = sign(SECRET, now(), &body);
    let answer = http::post_event(&ingest.url(), &signature, body).await;
    answer.unwrap().status.as_u16()
}

async fn until_unready(ingest: &Service, why: &str) {
    let url = format!("{}/readyz", ingest.admin_url());
    wait::until(why, BOUND, async || match http::get(&url).await {
        Ok(answer) if answer.text().contains(why) => Seen::Reached(()),
        Ok(answer) => Seen::NotYet(answer.text()),
        Err(error) => Seen::NotYet(format!("{error:#}")),
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_broker_users_are_enough_and_no_more() {
    let deployment = Deployment::start().await;
    let together = commands(OPERATIONS, "## Broker users with least rights");
    let apart = commands(OPERATIONS, "### Commands in a virtual host of their own");
    let app = commands(MAIN_APP, "### The app's user at the broker");
    assert_eq!((together.len(), apart.len(), app.len()), (5, 6, 3));
    let (users, less) = together.split_at(3);
    let (full, less) = less.split_at(1);
    run(&deployment.node, users).await;
    // The rights of a release without commands, which an upgrade finds.
    run(&deployment.node, &apart[3..4]).await;

    // Ingest waits for the worker, which makes the topology.
    let mut ingest = deployment.ingest();
    until_unready(&ingest, "may not declare it").await;
    assert_eq!(deliver(&ingest, "evt_0", "1").await, 503);
    let mut worker = deployment.worker(None).await;
    ingest.until_ready(BOUND).await.unwrap();
    events_work(&deployment, &ingest, "1").await;
    commands_are_refused(&worker, "eu.stripe.commands").await;

    // The rights are given, and the worker finds them by itself.
    run(&deployment.node, full).await;
    run(&deployment.node, &app[0..1]).await;
    run(&deployment.node, &app[2..3]).await;
    commands_work(&deployment, "%2f").await;
    events_work(&deployment, &ingest, "2").await;
    refused::to_the_app(&deployment, "%2f").await;

    // The same with less, once the topology is there.
    worker.terminate().await.unwrap();
    run(&deployment.node, less).await;
    let mut worker = deployment.worker(None).await;
    events_work(&deployment, &ingest, "3").await;
    commands_work(&deployment, "%2f").await;

    // Commands in a virtual host of their own, and the app there as NestJS wants it.
    worker.terminate().await.unwrap();
    let (full, less) = apart.split_at(4);
    run(&deployment.node, full).await;
    run(&deployment.node, &app[1..2]).await;
    let url = deployment.url_in("commands", "dialoom_commands");
    let mut worker = deployment.worker(Some(&url)).await;
    events_work(&deployment, &ingest, "4").await;
    commands_work(&deployment, "commands").await;
    worker.terminate().await.unwrap();
    run(&deployment.node, less).await;
    let mut worker = deployment.worker(Some(&url)).await;
    events_work(&deployment, &ingest, "5").await;
    commands_work(&deployment, "commands").await;
    nest_is_answered(&deployment).await;

    refused::to_ingest(&deployment).await;
    refused::to_the_worker(&deployment).await;
    refused::to_the_commands_user(&deployment).await;
    refused::to_the_app(&deployment, "commands").await;
    worker.terminate().await.unwrap();
    too_few::for_commands(&deployment, &apart[2]).await;
    let mut worker = deployment.worker(None).await;

    too_few::for_ingest(&deployment).await;

    // A queue that is gone is seen by ingest, and not taken for safe.
    let (connection, channel) = {
        let connection = rabbitmq::connect(&deployment.node.url()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        (connection, channel)
    };
    worker.terminate().await.unwrap();
    channel
        .queue_delete(
            "eu.stripe.events.worker".into(),
            QueueDeleteOptions::default(),
        )
        .await
        .unwrap();
    assert_eq!(deliver(&ingest, "evt_lost", "1").await, 503);
    until_unready(&ingest, "missing or different on the broker").await;

    // Nor where another's queue takes the same events.
    let (options, table) = (QueueDeclareOptions::default(), FieldTable::default());
    let audit = channel.queue_declare("audit".into(), options, table.clone());
    audit.await.unwrap();
    let (queue, exchange) = ("audit".into(), "eu.stripe.events".into());
    let options = QueueBindOptions::default();
    let bound = channel.queue_bind(queue, exchange, "invoice.paid".into(), options, table);
    bound.await.unwrap();
    wait::until("it is seen", BOUND, async || {
        match deliver(&ingest, "evt_unseen", "1").await {
            503 => Seen::Reached(()),
            status => Seen::NotYet(status.to_string()),
        }
    })
    .await
    .unwrap();
    let purge = || channel.queue_purge("audit".into(), QueuePurgeOptions::default());
    purge().await.unwrap();
    assert_eq!(deliver(&ingest, "evt_audited", "1").await, 503);
    assert_eq!(purge().await.unwrap(), 0, "it was not even published");
    drop(connection);
    ingest.terminate().await.unwrap();
}

/// The app's user publishes to the exchange and is answered.
async fn commands_work(deployment: &Deployment, virtual_host: &str) {
    let url = deployment.url_in(virtual_host, "app");
    let host = json!({ "hostId": 7 });
    let answer = until_answered(&url, "eu.stripe.commands", "host.status", &host).await;
    assert_eq!(answer["err"]["code"], "not_configured");
}

/// As NestJS's client asks: by the default exchange and the queue's name.
async fn nest_is_answered(deployment: &Deployment) {
    let url = deployment.url_in("commands", "app");
    let packet = json!({ "pattern": "host.status", "data": { "hostId": 7 }, "id": "1" });
    let answer = ask(&url, "", "eu.stripe.commands", &packet).await.unwrap();
    assert_eq!(answer.unwrap()["err"]["code"], "not_configured");
}

/// The worker says that it takes no commands, and why, and is ready.
async fn commands_are_refused(worker: &Service, name: &str) {
    let said = |log: &str| {
        let mut lines = log.lines();
        lines.any(|line| line.contains("no command is taken until") && line.contains(name))
    };
    wait::until("a line in the log", BOUND, async || match worker.log() {
        log if said(&log) => Seen::Reached(()),
        log => Seen::NotYet(log),
    })
    .await
    .unwrap();
    let ready = http::get(&format!("{}/readyz", worker.admin_url())).await;
    assert_eq!(ready.unwrap().status.as_u16(), 200);
    let metrics = http::get(&format!("{}/metrics", worker.admin_url())).await;
    let metrics = metrics.unwrap().text();
    assert!(
        metrics.contains("\nworker_commands_consuming 0\n"),
        "{metrics}"
    );
}

/// An event is applied; another one dies, is written down, and is sent again.
async fn events_work(deployment: &Deployment, ingest: &Service, round: &str) {
    let (good, dead) = (format!("evt_good{round}"), format!("evt_dead{round}"));
    assert_eq!(deliver(ingest, &good, round).await, 200);
    let outcome = format!("SELECT outcome FROM stripe.event WHERE id = '{good}'");
    deployment.until(&outcome, "applied").await;
    assert_eq!(deliver(ingest, &dead, "x").await, 200);
    let letter = format!("SELECT attempts || state FROM stripe.dead_letter WHERE id = '{dead}'");
    deployment.until(&letter, "1dead").await;
    let replay = deployment.replay().await;
    let out = String::from_utf8_lossy(&replay.stdout).into_owned();
    assert!(out.contains("1 dead"), "{out}{replay:?}");
    deployment.until(&letter, "2dead").await;
    let discard = "UPDATE stripe.dead_letter SET state = 'discarded'";
    deployment.client.execute(discard, &[]).await.unwrap();
}
