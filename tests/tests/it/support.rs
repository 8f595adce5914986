//! What several tests need: a deployment of their own, an event, a program.

use std::{path::Path, process::Command, time::Duration};

use futures_util::StreamExt;
use harness::{
    http,
    nest::{NestApp, NestProject},
    private::PrivateFolder,
    servers::rabbitmq,
    services::{Service, ServiceOptions},
    stripe::{Event, Invoice, now, sign},
    stripe_api::StandIn,
    test_servers::{TestBroker, TestDatabase},
    wait::{self, Seen},
};
use lapin::{
    BasicProperties,
    options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions},
    types::{FieldTable, ShortString},
};
use serde_json::Value;

/// The secret that the sender signs with.
pub(crate) const SECRET: &str = "whsec_of_the_deployment";
/// Bound for anything that a test waits for.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

/// `invoice.paid` of the booking and the invoice of this number.
pub(crate) fn paid(id: i32) -> Event {
    let object = Invoice {
        id: format!("in_{id}"),
        booking: Some(id.to_string()),
        ..Invoice::default()
    };
    Event::new(&format!("evt_{id}"), "invoice.paid", object.value()).of_account("acct_1Host")
}

/// Writes a shell script that can be run at once.
///
/// Another process writes it. A file that this process has open for writing can
/// be inherited by a process that another test starts in that moment, and as long
/// as it is open, it cannot be run.
pub(crate) fn write_script(path: &Path, text: &str) {
    let written = Command::new("/bin/sh")
        .args(["-c", r#"printf %s "$1" >"$0" && chmod 700 "$0""#])
        .arg(path)
        .arg(text)
        .status();
    assert!(written.unwrap().success(), "{}", path.display());
}

/// Both services on a database and a prefix of their own.
pub(crate) struct Deployment {
    pub(crate) database: TestDatabase,
    pub(crate) broker: TestBroker,
    pub(crate) client: tokio_postgres::Client,
    pub(crate) ingest: Service,
    pub(crate) folder: PrivateFolder,
}

impl Deployment {
    /// Starts `ingest`; the main app has a table of bookings already.
    pub(crate) async fn start(label: &str) -> Self {
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

    /// What a worker of this deployment is told.
    pub(crate) fn worker_options(&self) -> ServiceOptions {
        ServiceOptions::worker(self.folder.path())
            .unwrap()
            .env("AMQP_URL", self.broker.url())
            .env("AMQP_PREFIX", self.broker.prefix())
            .env("DATABASE_URL", self.database.url())
            .env("STRIPE_MODE", "test")
    }

    /// As [`Deployment::worker_options`], for one that does commands against the stand-in.
    pub(crate) fn commanding(&self, api: &StandIn) -> ServiceOptions {
        self.worker_options()
            .env("STRIPE_API_KEY", "sk_test_standin")
            .env("STRIPE_API_BASE", api.base_url())
            .env("REDIRECT_ORIGINS", "https://app.example.com")
    }

    /// Starts a worker that reaches the broker by this URL.
    pub(crate) async fn worker(&self, amqp_url: &str) -> Service {
        let options = self.worker_options().env("AMQP_URL", amqp_url);
        Service::start(options).await.unwrap()
    }

    /// Waits until a worker takes commands.
    pub(crate) async fn until_commands(&self) {
        let commands = self.broker.commands();
        self.broker.until_there(&commands, BOUND).await.unwrap();
    }

    /// Starts the NestJS app, with further variables.
    pub(crate) async fn nest_app(&self, variables: &[(&str, &str)]) -> NestApp {
        let project = NestProject::get().await.unwrap();
        let mut all = vec![
            ("AMQP_URL", self.broker.url()),
            ("AMQP_PREFIX", self.broker.prefix()),
            ("APP_URL", "https://app.example.com"),
        ];
        all.extend(variables);
        let started = tokio::time::timeout(BOUND, project.start(&all)).await;
        started.expect("the app does not start").unwrap()
    }

    /// The main app makes a booking.
    pub(crate) async fn book(&self, id: i32) {
        let insert = r#"INSERT INTO "Booking" ("id") VALUES ($1)"#;
        self.client.execute(insert, &[&id]).await.unwrap();
    }

    /// Delivers an event as Stripe does; gives the status of the answer.
    pub(crate) async fn deliver(&self, event: &Event) -> u16 {
        let body = event.bytes();
        let signature = sign(SECRET, now(), &body);
        let answer = http::post_event(&self.ingest.url(), &signature, body).await;
        answer.unwrap().status.as_u16()
    }

    /// The first column of a query's rows, joined by "; ".
    pub(crate) async fn read(&self, query: &str) -> String {
        let rows = self.client.query(query, &[]).await.unwrap();
        let texts: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        texts.join("; ")
    }

    /// Waits until a query reads so.
    pub(crate) async fn until(&self, query: &str, expected: &str) {
        wait::until(expected, BOUND, async || match self.read(query).await {
            seen if seen == expected => Seen::Reached(()),
            seen => Seen::NotYet(seen),
        })
        .await
        .unwrap();
    }
}

/// Sends a command to an exchange and waits for its answer by direct reply-to; `None` where
/// none comes in time.
pub(crate) async fn ask(
    url: &str,
    exchange: &str,
    key: &str,
    body: &Value,
) -> lapin::Result<Option<Value>> {
    const REPLY_TO: &str = "amq.rabbitmq.reply-to";
    /// Longer than an answer takes that nothing holds up.
    const PATIENCE: Duration = Duration::from_secs(5);
    let connection = rabbitmq::connect(url).await.unwrap();
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let (tag, table) = (ShortString::default(), FieldTable::default());
    let replies = channel.basic_consume(REPLY_TO.into(), tag, options, table);
    let mut replies = replies.await?;
    let properties = BasicProperties::default()
        .with_reply_to(REPLY_TO.into())
        .with_correlation_id("1".into());
    let (options, body) = (BasicPublishOptions::default(), body.to_string());
    let sent = channel.basic_publish(
        exchange.into(),
        key.into(),
        options,
        body.as_bytes(),
        properties,
    );
    sent.await?.await?;
    match tokio::time::timeout(PATIENCE, replies.next()).await {
        Ok(Some(answer)) => Ok(Some(serde_json::from_slice(&answer?.data).unwrap())),
        Ok(None) | Err(_) => Ok(None),
    }
}

/// Asks over and over until there is an answer.
pub(crate) async fn until_answered(url: &str, exchange: &str, key: &str, body: &Value) -> Value {
    wait::until("an answer to a command", BOUND, async || {
        match ask(url, exchange, key, body).await {
            Ok(Some(answer)) => Seen::Reached(answer),
            Ok(None) => Seen::NotYet("no answer".into()),
            Err(error) => Seen::NotYet(error.to_string()),
        }
    })
    .await
    .unwrap()
}
