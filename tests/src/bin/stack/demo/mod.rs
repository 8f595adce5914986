//! `stack demo`: a small story with real servers, services, signed events and a NestJS app.

mod app;
mod by_message;
mod deliver;
mod report;
mod story;

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use harness::{
    http,
    private::PrivateFolder,
    random,
    servers::Given,
    services::{Service, ServiceOptions},
    stripe_api::{Options, StandIn},
    test_servers::{TestBroker, TestDatabase},
    wait::{self, Seen},
};
use tokio_postgres::Client;

use self::{
    app::{Addresses, Making},
    by_message::Part,
    story::Story,
};
use crate::{private, signals::Stop};

/// Bound for the worker to take commands, and to take all events: it takes milliseconds for each.
const TAKEN_BOUND: Duration = Duration::from_secs(60);

/// The bookings as the main app's own migration makes them, so that
/// `"Invoice"` gets its foreign key.
const BOOKINGS: &str = r#"
    CREATE TABLE "Booking" ("id" SERIAL NOT NULL, CONSTRAINT "Booking_pkey" PRIMARY KEY ("id"));
    INSERT INTO "Booking" SELECT FROM generate_series(1, 3);
"#;

/// Tells the story; fails when the tables do not end as it says.
pub(crate) async fn demo() -> Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let folder = PrivateFolder::make("demo")?;
    tokio::select! {
        told = tell(folder.path()) => told.map(|()| ExitCode::SUCCESS),
        number = stop.wait() => Ok(Stop::exit_code(number)),
    }
}

async fn tell(folder: &Path) -> Result<()> {
    let story = Story::new();
    println!("{}\n", story::INTRODUCTION);
    let making = Making::begin();
    report::step("Starting PostgreSQL and RabbitMQ");
    let servers = private::servers(folder, Given::from_env()).await?;
    let database = TestDatabase::empty_on(&servers.database_url(), "demo").await?;
    let client = database.connect().await?;
    client
        .batch_execute(BOOKINGS)
        .await
        .context("making the bookings")?;
    let broker = TestBroker::on(&servers.amqp_url(), "demo");
    let addresses = Addresses::make(&servers, broker.prefix()).await?;
    // Gets a copy of all that ingest publishes.
    let spy = broker.spy(story.types()).await?;
    report::step("Starting ingest and worker");
    let secret = format!("whsec_{}", random::hex(24));
    let api = StandIn::start(Options::default()).await?;
    let deployment = Deployment {
        folder,
        database: &database,
        broker: &broker,
        secret: &secret,
        api: &api,
        commands: &addresses.worker,
    };
    let (ingest, worker) = deployment.start().await?;

    report::step("Delivering signed events over HTTP, shuffled, each of them twice");
    let answers = deliver::all(&story, &ingest.url(), &secret).await?;
    report::deliveries(&answers);
    report::step("Waiting until the worker has taken every event");
    until_taken(&client, &story, &worker).await?;

    let tables = report::Tables::read(&client).await?;
    let published = broker.take_all(&spy).await?;
    tables.print();
    report::forged(&answers, &story, &published);
    println!("{}\n", by_message::INTRODUCTION);
    let app = making.start(&addresses, broker.prefix()).await?;
    until_commands(&worker).await?;
    let part = Part {
        api: &api,
        broker: &broker,
        client: &client,
        ingest: &ingest.url(),
        secret: &secret,
        app,
        deliveries: 0,
    };
    part.tell()
        .await
        .with_context(|| format!("the worker's log ends:\n{}", worker.process().log_tail()))?;
    report::Tables::read(&client).await?.print();
    stop_services(ingest, worker).await?;
    // The database and the exchanges go before the servers do.
    drop((client, database, broker));
    drop(servers);

    let mut differences = deliver::unexpected(&answers, &published, &story);
    differences.extend(tables.differences(&story));
    if !differences.is_empty() {
        bail!(
            "the story did not end as it should:\n  {}",
            differences.join("\n  ")
        );
    }
    println!("\nThe tables are as the story says. Everything that was started is stopped again.");
    Ok(())
}

/// What the services are told.
struct Deployment<'a> {
    folder: &'a Path,
    database: &'a TestDatabase,
    broker: &'a TestBroker,
    secret: &'a str,
    api: &'a StandIn,
    /// Where the worker takes commands.
    commands: &'a str,
}

impl Deployment<'_> {
    async fn start(&self) -> Result<(Service, Service)> {
        let told = |options: ServiceOptions| {
            options
                .env("DATABASE_URL", self.database.url())
                .env("AMQP_URL", self.broker.url())
                .env("AMQP_PREFIX", self.broker.prefix())
                .env("STRIPE_MODE", "test")
        };
        let ingest = told(ServiceOptions::ingest(self.folder)?);
        let ingest = Service::start(ingest.env("STRIPE_WEBHOOK_SECRETS", self.secret));
        let worker = told(ServiceOptions::worker(self.folder)?)
            .env("STRIPE_API_KEY", &Options::default().secret_key)
            .env("STRIPE_API_BASE", self.api.base_url())
            .env("COMMANDS_AMQP_URL", self.commands)
            .env("REDIRECT_ORIGINS", "https://app.example.com")
            .env("CHANGES", "yes");
        tokio::try_join!(ingest, Service::start(worker))
    }
}

async fn stop_services(mut ingest: Service, mut worker: Service) -> Result<()> {
    let (ingest, worker) = tokio::join!(ingest.terminate(), worker.terminate());
    ingest?;
    worker?;
    Ok(())
}

/// Waits until the worker's ledger has a row for every event that was delivered.
async fn until_taken(client: &Client, story: &Story, worker: &Service) -> Result<()> {
    let wanted = i64::try_from(story.events.len())?;
    wait::until(
        format!("{wanted} events to be taken"),
        TAKEN_BOUND,
        async || {
            let count = client
                .query_one("SELECT count(*) FROM stripe.event", &[])
                .await;
            match count.map(|row| row.get::<_, i64>(0)) {
                Ok(count) if count == wanted => Seen::Reached(()),
                Ok(count) => Seen::NotYet(format!("{count}")),
                Err(error) => Seen::Never(format!("{:#}", anyhow::Error::from(error))),
            }
        },
    )
    .await
    .with_context(|| format!("the worker's log ends:\n{}", worker.process().log_tail()))
}

/// Waits until the worker takes commands: NestJS's client says nothing of one that no queue takes.
async fn until_commands(worker: &Service) -> Result<()> {
    let url = format!("{}/metrics", worker.admin_url());
    wait::until(
        "the worker to take commands",
        TAKEN_BOUND,
        async || match http::get(&url).await {
            Ok(answer) if answer.text().contains("\nworker_commands_consuming 1\n") => {
                Seen::Reached(())
            }
            Ok(_) => Seen::NotYet("it takes none".to_owned()),
            Err(error) => Seen::NotYet(format!("{error:#}")),
        },
    )
    .await
}
