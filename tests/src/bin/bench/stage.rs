//! The servers and services that are measured: private, durable, and gone with
//! this value.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use harness::{
    private::PrivateFolder,
    random,
    servers::{Durability, Given, PostgresOptions, RabbitMqOptions, Servers, postgres, rabbitmq},
    services::{self, Service, ServiceOptions},
};
use lapin::{
    Channel, Connection,
    options::{QueueDeclareOptions, QueuePurgeOptions},
    types::FieldTable,
};
use tokio_postgres::Client;
use url::Url;

use crate::{
    events::Events,
    limit::publish::{Beside, Form},
};

/// Put before the names of exchanges and queues.
pub(crate) const PREFIX: &str = "bench.";
/// The exchange and the queue of commands.
const COMMANDS: &str = "bench.stripe.commands";
/// Name of the database that the others are copied from.
const TEMPLATE: &str = "bench_template";

/// Whether the worker keeps the bytes of what it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// As it does if nobody says anything.
    Bytes,
    /// `KEEP_EVENTS_DAYS=0`
    Nothing,
}

/// Servers, and what the services need to be started.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) channel: Channel,
    connection: Connection,
    pub(crate) servers: Servers,
    pub(crate) secret: String,
    run: u64,
    start: u64,
    next: u64,
    // The last, so that the servers are stopped before their data goes.
    folder: PrivateFolder,
}

impl Stage {
    /// Starts the servers and makes the tables.
    pub(crate) async fn set() -> Result<Self> {
        let folder = PrivateFolder::make("bench")?;
        let postgres = PostgresOptions {
            durability: Durability::Durable,
            settings: vec![("timezone".to_owned(), "UTC".to_owned())],
            ..PostgresOptions::default()
        };
        let rabbitmq = RabbitMqOptions {
            durability: Durability::Durable,
            ..RabbitMqOptions::default()
        };
        let given = Given::default();
        let servers = Servers::start(folder.path(), given, postgres, rabbitmq).await?;
        let connection = rabbitmq::connect(&servers.amqp_url()).await?;
        let channel = connection.create_channel().await?;
        let now = u64::try_from(harness::stripe::now())?;
        let stage = Self {
            channel,
            connection,
            secret: format!("whsec_{}", random::hex(24)),
            run: fastrand::u64(..),
            // All of it has happened by now.
            start: now - 3600,
            next: 0,
            servers,
            folder,
        };
        stage.make_template().await?;
        // Declares exchanges and queues.
        stage.ingest().await?.terminate().await?;
        Ok(stage)
    }

    /// The next `count` events of the stream.
    pub(crate) fn events(&mut self, count: u64) -> Events {
        let first = self.next;
        self.next += count;
        Events {
            run: self.run,
            start: self.start,
            range: first..self.next,
        }
    }

    /// Starts `ingest`.
    pub(crate) async fn ingest(&self) -> Result<Service> {
        let options = ServiceOptions::ingest(&self.service_folder("ingest"))?
            .env("AMQP_URL", self.servers.amqp_url())
            .env("AMQP_PREFIX", PREFIX)
            .env("STRIPE_MODE", "test")
            .env("STRIPE_WEBHOOK_SECRETS", &self.secret);
        Service::start(options).await
    }

    /// Starts a worker on this database and does not wait for it.
    pub(crate) fn worker(&self, database: &Database, keep: Keep) -> Result<Service> {
        self.worker_with(database, keep, &[])
    }

    /// The same with these variables.
    pub(crate) fn worker_with(
        &self,
        database: &Database,
        keep: Keep,
        variables: &[(&str, &str)],
    ) -> Result<Service> {
        let mut options = ServiceOptions::worker(&self.service_folder("worker"))?
            .env("DATABASE_URL", &database.url)
            .env("AMQP_URL", self.servers.amqp_url())
            .env("AMQP_PREFIX", PREFIX)
            .env("STRIPE_MODE", "test");
        if keep == Keep::Nothing {
            options = options.env("KEEP_EVENTS_DAYS", "0");
        }
        for (name, value) in variables {
            options = options.env(name, value);
        }
        Service::spawn(options)
    }

    fn service_folder(&self, name: &str) -> PathBuf {
        self.folder
            .path()
            .join(format!("{name}-{}", random::hex(4)))
    }

    /// How `ingest` publishes an event.
    pub(crate) fn as_ingest(&self) -> Form {
        Form {
            exchange: format!("{PREFIX}stripe.events"),
            key: None,
            beside: Beside::AsIngest,
        }
    }

    /// The least that brings a body into the worker's queue.
    pub(crate) fn least(&self) -> Form {
        Form {
            exchange: String::new(),
            key: Some(queue()),
            beside: Beside::Nothing,
        }
    }

    /// The exchange of commands, whose queue has the same name.
    pub(crate) fn commands_exchange(&self) -> &'static str {
        COMMANDS
    }

    /// Waits until a worker takes commands.
    pub(crate) async fn until_commands(&self, bound: Duration) -> Result<()> {
        const OFTEN: Duration = Duration::from_millis(5);
        until("the worker to take commands", OFTEN, bound, async || {
            // A look at a queue that is not there yet closes the channel.
            let channel = self.connection.create_channel().await?;
            let taken = depth(&channel, COMMANDS).await;
            Ok(match taken {
                Ok(depth) if depth.consumers > 0 => None,
                Ok(_) => Some("nobody consumes".to_owned()),
                Err(error) => Some(error.to_string()),
            })
        })
        .await
    }

    /// How many messages wait in the worker's queue, and who consumes it.
    pub(crate) async fn queue(&self) -> Result<Depth> {
        depth(&self.channel, &queue()).await
    }

    /// Empties the worker's queue.
    pub(crate) async fn purge(&self) -> Result<()> {
        self.channel
            .queue_purge(queue().into(), QueuePurgeOptions::default())
            .await?;
        Ok(())
    }

    async fn make_template(&self) -> Result<()> {
        self.admin(&format!("CREATE DATABASE {TEMPLATE}")).await?;
        let worker = services::binary("worker")?;
        let made = Command::new(&worker)
            .arg("migrate")
            .env_clear()
            .env("DATABASE_URL", self.database_url(TEMPLATE)?)
            .output()
            .with_context(|| format!("cannot run {}", worker.display()))?;
        let said = String::from_utf8_lossy(&made.stderr);
        ensure!(made.status.success(), "worker migrate failed: {said}");
        Ok(())
    }

    /// A new database with all tables, and a clean start for the disk.
    pub(crate) async fn database(&self) -> Result<Database> {
        let name = format!("bench_{}", random::hex(4));
        self.admin(&format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}"))
            .await?;
        let url = self.database_url(&name)?;
        self.settle().await?;
        Ok(Database { name, url })
    }

    /// Removes a database, whoever is connected to it.
    pub(crate) async fn drop(&self, database: Database) -> Result<()> {
        let Database { name, .. } = database;
        self.admin(&format!("DROP DATABASE {name} WITH (FORCE)"))
            .await
    }

    /// Writes out what earlier work has left to be written.
    pub(crate) async fn settle(&self) -> Result<()> {
        self.admin("CHECKPOINT").await
    }

    async fn admin(&self, statement: &str) -> Result<()> {
        let client = postgres::connect(&self.servers.database_url()).await?;
        client
            .batch_execute(statement)
            .await
            .context("the database")
    }

    fn database_url(&self, name: &str) -> Result<String> {
        let mut url = Url::parse(&self.servers.database_url())?;
        url.set_path(name);
        Ok(url.into())
    }

    /// The servers' first processes.
    pub(crate) fn server_pids(&self) -> [(&'static str, Option<i32>); 2] {
        let Servers {
            postgres, rabbitmq, ..
        } = &self.servers;
        [
            (
                "PostgreSQL",
                postgres.as_ref().and_then(postgres::Postgres::pid),
            ),
            (
                "RabbitMQ",
                rabbitmq.as_ref().and_then(rabbitmq::RabbitMq::pid),
            ),
        ]
    }
}

/// The state of the worker's queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depth {
    /// Messages that are not delivered.
    pub(crate) waiting: u32,
    pub(crate) consumers: u32,
}

/// A database of its own.
#[derive(Debug)]
pub(crate) struct Database {
    name: String,
    pub(crate) url: String,
}

impl Database {
    pub(crate) async fn connect(&self) -> Result<Client> {
        postgres::connect(&self.url).await
    }
}

async fn depth(channel: &Channel, queue: &str) -> Result<Depth> {
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel
        .queue_declare(queue.into(), options, FieldTable::default())
        .await?;
    Ok(Depth {
        waiting: queue.message_count(),
        consumers: queue.consumer_count(),
    })
}

/// The worker's queue.
pub(crate) fn queue() -> String {
    format!("{PREFIX}stripe.events.worker")
}

/// Address of the service's public listener.
pub(crate) fn address(ingest: &Service) -> Result<SocketAddr> {
    let port = ingest.options().port.context("ingest has a port")?;
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// Looks again and again until `look` finds nothing to wait for.
pub(crate) async fn until(
    what: &str,
    every: Duration,
    bound: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<String>>,
) -> Result<()> {
    let start = Instant::now();
    while let Some(state) = look().await? {
        ensure!(
            start.elapsed() < bound,
            "{what}: not after {} s; last seen: {state}",
            bound.as_secs()
        );
        tokio::time::sleep(every).await;
    }
    Ok(())
}
