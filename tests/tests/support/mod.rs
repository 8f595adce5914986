//! A deployment of its own: both binaries, a database and a prefix.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support; each test uses a part of it"
)]

use std::time::Duration;

use harness::{
    http,
    private::PrivateFolder,
    services::{Service, ServiceOptions},
    stripe::{Event, now, sign},
    test_servers::{TestBroker, TestDatabase},
    wait::{self, Seen},
};

/// The secret that the sender signs with.
pub const SECRET: &str = "whsec_of_the_deployment";
/// Bound for anything that a test waits for.
pub const BOUND: Duration = Duration::from_secs(30);

/// Both services on a database and a prefix of their own.
pub struct Deployment {
    pub database: TestDatabase,
    pub broker: TestBroker,
    pub client: tokio_postgres::Client,
    pub ingest: Service,
    pub folder: PrivateFolder,
}

impl Deployment {
    /// Starts `ingest`; the main app has a table of bookings already.
    pub async fn start(label: &str) -> Self {
        let database = TestDatabase::empty(label).await.unwrap();
        let client = database.connect().await.unwrap();
        client
            .batch_execute(r#"CREATE TABLE "Booking" ("id" SERIAL PRIMARY KEY)"#)
            .await
            .unwrap();
        let broker = TestBroker::new(label);
        let folder = PrivateFolder::make(label).unwrap();
        let options = ServiceOptions::ingest(folder.path())
            .unwrap()
            .env("AMQP_URL", broker.url())
            .env("AMQP_PREFIX", broker.prefix())
            .env("STRIPE_MODE", "test")
            .env("STRIPE_WEBHOOK_SECRETS", format!("connect={SECRET}"));
        let ingest = Service::start(options).await.unwrap();
        Self {
            database,
            broker,
            client,
            ingest,
            folder,
        }
    }

    /// Starts a worker that reaches the broker by this URL.
    pub async fn worker(&self, amqp_url: &str) -> Service {
        let options = ServiceOptions::worker(self.folder.path())
            .unwrap()
            .env("AMQP_URL", amqp_url)
            .env("AMQP_PREFIX", self.broker.prefix())
            .env("DATABASE_URL", self.database.url())
            .env("STRIPE_MODE", "test");
        Service::start(options).await.unwrap()
    }

    /// The main app makes a booking.
    pub async fn book(&self, id: i32) {
        let insert = r#"INSERT INTO "Booking" ("id") VALUES ($1)"#;
        self.client.execute(insert, &[&id]).await.unwrap();
    }

    /// Delivers an event as Stripe does; gives the status of the answer.
    pub async fn deliver(&self, event: &Event) -> u16 {
        let body = event.bytes();
        let signature = sign(SECRET, now(), &body);
        let answer = http::post_event(&self.ingest.url(), &signature, body).await;
        answer.unwrap().status.as_u16()
    }

    /// The first column of a query's rows, joined by "; ".
    pub async fn read(&self, query: &str) -> String {
        let rows = self.client.query(query, &[]).await.unwrap();
        let texts: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        texts.join("; ")
    }

    /// Waits until a query reads so.
    pub async fn until(&self, query: &str, expected: &str) {
        wait::until(expected, BOUND, async || match self.read(query).await {
            seen if seen == expected => Seen::Reached(()),
            seen => Seen::NotYet(seen),
        })
        .await
        .unwrap();
    }
}
