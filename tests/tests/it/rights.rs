//! Both services with the broker users of docs/OPERATIONS.md, and what these
//! users cannot do.

mod refused;

use std::process::Output;

use harness::{
    http,
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

use crate::support::{BOUND, SECRET};

const PREFIX: &str = "eu.";
const PASSWORD: &str = "password-of-both";

/// The commands of the document, with this test's prefix and passwords.
fn commands() -> Vec<Vec<String>> {
    let text = include_str!("../../../docs/OPERATIONS.md");
    let section = text
        .split("\n## Broker users with least rights")
        .nth(1)
        .unwrap();
    let lines = section.lines().filter_map(|line| {
        let line = line.strip_prefix("    rabbitmqctl ")?;
        let line = line.replace("^stripe", r"^eu\.stripe");
        let line = line.replace("'...'", PASSWORD).replace('\'', "");
        Some(line.split(' ').map(str::to_owned).collect())
    });
    lines.collect()
}

async fn run(node: &RabbitMq, commands: &[Vec<String>]) {
    for command in commands {
        let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        node.ctl(&arguments).await.unwrap();
    }
}

struct Deployment {
    node: RabbitMq,
    database: TestDatabase,
    client: tokio_postgres::Client,
    folder: PrivateFolder,
}

impl Deployment {
    fn url(&self, user: &str) -> String {
        format!(
            "amqp://{user}:{PASSWORD}@127.0.0.1:{}/%2f",
            self.node.port()
        )
    }

    async fn channel(&self, user: &str) -> (lapin::Connection, Channel) {
        let connection = rabbitmq::connect(&self.url(user)).await.unwrap();
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

    async fn worker(&self) -> Service {
        let options = ServiceOptions::worker(self.folder.path())
            .unwrap()
            .env("AMQP_URL", self.url("dialoom_worker"))
            .env("AMQP_PREFIX", PREFIX)
            .env("DATABASE_URL", self.database.url())
            .env("STRIPE_MODE", "test");
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
    let folder = PrivateFolder::make("rights").unwrap();
    let node = RabbitMq::start(&folder.path().join("node"), RabbitMqOptions::default())
        .await
        .unwrap();
    let database = TestDatabase::empty("rights").await.unwrap();
    let deployment = Deployment {
        client: database.connect().await.unwrap(),
        node,
        database,
        folder,
    };
    let commands = commands();
    let (users, less) = commands.split_at(4);
    assert_eq!(less.len(), 1, "{commands:?}");
    run(&deployment.node, users).await;

    // Ingest waits for the worker, which makes the topology.
    let mut ingest = deployment.ingest();
    until_unready(&ingest, "may not declare it").await;
    assert_eq!(deliver(&ingest, "evt_0", "1").await, 503);
    let mut worker = deployment.worker().await;
    ingest.until_ready(BOUND).await.unwrap();
    everything_works(&deployment, &ingest, "1").await;

    // The same with less, once the topology is there.
    worker.terminate().await.unwrap();
    run(&deployment.node, less).await;
    let mut worker = deployment.worker().await;
    everything_works(&deployment, &ingest, "2").await;

    refused::to_ingest(&deployment).await;
    refused::to_the_worker(&deployment).await;

    a_right_too_few_is_told(&deployment).await;

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

/// An event is applied; another one dies, is written down, and is sent again.
async fn everything_works(deployment: &Deployment, ingest: &Service, round: &str) {
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

/// Without a right on the queue, `ingest` is not told whether it is there. Brokers up to 4.2.5
/// tell everybody.
async fn a_right_too_few_is_told(deployment: &Deployment) {
    let user = ["set_permissions", "dialoom_ingest", "^$"];
    let without = [&user[..], &[r"^eu\.stripe\.events$", "^$"]].concat();
    deployment.node.ctl(&without).await.unwrap();
    let mut second = Service::spawn(deployment.ingest_named("second")).unwrap();
    let version = deployment.node.ctl(&["version"]).await.unwrap();
    let numbers = version.trim().split('.').map(|part| part.parse().unwrap());
    let version: Vec<u32> = numbers.collect();
    if version < vec![4, 2, 6] {
        second.until_ready(BOUND).await.unwrap();
    } else {
        until_unready(&second, "nor look whether it is there").await;
        assert_eq!(deliver(&second, "evt_blind", "1").await, 503);
    }
    second.terminate().await.unwrap();
    let with = [&user[..], &[r"^eu\.stripe\.events(\.worker)?$", "^$"]].concat();
    deployment.node.ctl(&with).await.unwrap();
}
