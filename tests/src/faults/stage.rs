//! A deployment that can be broken: servers, services, and the wires between
//! them.

mod prepare;
mod projected;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tokio::sync::Mutex;
use tokio_postgres::Client;

use super::{disk::SmallDisk, fault::Fault, run::Plan, tally::Tally};

pub(super) use self::{prepare::make_late_bookings, projected::until_projected};
use crate::{
    checkout,
    private::PrivateFolder,
    process,
    proxy::Proxy,
    random,
    servers::{Postgres, PostgresOptions, RabbitMq, RabbitMqOptions, postgres},
    services::{self, Service, ServiceOptions},
    wait::{self, Seen},
};

/// Put before the names of exchanges and queues.
pub(super) const PREFIX: &str = "faults.";
/// Bound for anything that has to come back by itself.
pub(super) const BOUND: Duration = Duration::from_secs(120);

/// Everything that runs, each behind a lock so that faults can meet.
#[derive(Debug)]
pub struct Stage {
    /// Intake.
    pub ingest: Mutex<Service>,
    /// Two workers.
    pub workers: [Mutex<Service>; 2],
    /// The broker's nodes.
    pub broker: Mutex<Vec<RabbitMq>>,
    /// The database.
    pub database: Mutex<Postgres>,
    /// Between `ingest` and the broker.
    pub intake_wire: Proxy,
    /// Between the workers and the broker.
    pub worker_wire: Proxy,
    /// Between the workers and the database.
    pub database_wire: Proxy,
    /// The file system of the database, where it is to be full.
    pub small_disk: Option<SmallDisk>,
    /// Kills and stops so far.
    pub kills: AtomicUsize,
    /// What is counted.
    pub tally: Arc<Tally>,
    /// Where `ingest` listens.
    pub address: SocketAddr,
    /// The secret that deliveries are signed with.
    pub secret: String,
    // The last, so that all is stopped before its data goes.
    folder: PrivateFolder,
}

impl Stage {
    /// Starts servers and services; the main app has these bookings, and the workers
    /// have these variables.
    ///
    /// # Errors
    /// When something does not become ready.
    pub async fn set(plan: &Plan, bookings: i32, variables: &[(&str, &str)]) -> Result<Self> {
        process::allow_many_files();
        let durability = plan.durability;
        let folder = PrivateFolder::make("faults")?;
        let postgres = PostgresOptions {
            durability,
            settings: vec![
                ("timezone".to_owned(), "UTC".to_owned()),
                // Deadlocks are to be found before waiting for a lock ends.
                ("deadlock_timeout".to_owned(), "50ms".to_owned()),
            ],
            ..PostgresOptions::default()
        };
        let rabbitmq = RabbitMqOptions {
            durability,
            ..RabbitMqOptions::default()
        };
        let (at_postgres, at_rabbitmq) = (
            folder.path().join("postgres"),
            folder.path().join("rabbitmq"),
        );
        let (database, broker) = tokio::try_join!(
            Postgres::start(&at_postgres, postgres),
            RabbitMq::start(&at_rabbitmq, rabbitmq)
        )?;
        let small_disk = match plan.faults.contains(&Fault::DiskFull) {
            true => Some(prepare::move_to_small_disk(&database).await?),
            false => None,
        };
        let client = postgres::connect(&database.url()).await?;
        prepare::make_bookings(&client, bookings).await?;
        let database_wire = Proxy::before(&database.url(), 5432).await?;
        let intake_wire = Proxy::before(&broker.url(), 5672).await?;
        let worker_wire = Proxy::before(&broker.url(), 5672).await?;
        let mut nodes = vec![broker];
        if plan.faults.iter().any(|fault| fault.needs_cluster()) {
            let others = prepare::join(&nodes[0], folder.path()).await?;
            nodes.extend(others);
            let urls: Vec<String> = nodes.iter().map(RabbitMq::url).collect();
            intake_wire.point_at(&urls)?;
            worker_wire.point_at(&urls)?;
        }
        let secret = format!("whsec_{}", random::hex(24));
        let ingest = ServiceOptions::ingest(&folder.path().join("ingest"))?
            .env("AMQP_URL", intake_wire.url())
            .env("AMQP_PREFIX", PREFIX)
            .env("STRIPE_MODE", "test")
            .env("STRIPE_WEBHOOK_SECRETS", &secret);
        let port = ingest.port.context("ingest has a port")?;
        let worker = |name: &str| -> Result<ServiceOptions> {
            let options = ServiceOptions::worker(&folder.path().join(name))?
                .env("AMQP_URL", worker_wire.url())
                .env("AMQP_PREFIX", PREFIX)
                .env("DATABASE_URL", database_wire.url())
                .env("STRIPE_MODE", "test");
            let with =
                |options: ServiceOptions, (name, value): &(&str, &str)| options.env(name, value);
            Ok(variables.iter().fold(options, with))
        };
        let (first, second) = (worker("worker-1")?, worker("worker-2")?);
        // One after the other: the first makes the tables.
        let ingest = Service::start(ingest).await?;
        let first = Service::start(first).await?;
        let second = Service::start(second).await?;
        Ok(Self {
            ingest: Mutex::new(ingest),
            workers: [Mutex::new(first), Mutex::new(second)],
            broker: Mutex::new(nodes),
            database: Mutex::new(database),
            intake_wire,
            worker_wire,
            database_wire,
            small_disk,
            kills: AtomicUsize::new(0),
            tally: Arc::default(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            secret,
            folder,
        })
    }

    /// Counts something that was killed or stopped.
    pub fn count_kill(&self) {
        self.kills.fetch_add(1, Ordering::Relaxed);
    }

    /// Address of the broker's first node, past the wires.
    pub async fn url(&self) -> String {
        self.broker.lock().await[0].url()
    }

    /// Opens a connection to the database, past the wires.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn connect(&self) -> Result<Client> {
        let url = self.database.lock().await.url();
        postgres::connect(&url).await
    }

    /// A folder that nobody has used.
    pub(super) fn new_folder(&self, name: &str) -> PathBuf {
        self.folder
            .path()
            .join(format!("{name}-{}", random::hex(4)))
    }

    /// Name of the worker's queue.
    #[must_use]
    pub fn worker_queue() -> String {
        format!("{PREFIX}stripe.events.worker")
    }

    /// Name of the exchange and the queue of commands.
    #[must_use]
    pub fn commands() -> String {
        format!("{PREFIX}stripe.commands")
    }

    /// Waits until nothing is in a queue, delivered or not.
    ///
    /// # Errors
    /// When something stays.
    pub async fn drain(&self, bound: Duration) -> Result<()> {
        wait::until("empty queues", bound, async || {
            let broker = self.broker.lock().await;
            let Some(node) = broker.iter().find(|node| node.pid().is_some()) else {
                return Seen::NotYet("no node of the broker runs".to_owned());
            };
            match Self::left(node).await {
                Ok(left) if left.iter().all(|(_, count)| *count == 0) => Seen::Reached(()),
                Ok(left) => Seen::NotYet(format!("{left:?}")),
                Err(error) => Seen::NotYet(format!("{error:#}")),
            }
        })
        .await
    }

    /// How many messages each queue holds, delivered or not, as the queue's leader
    /// knows it. The numbers that the broker lists are its metrics, which are zero
    /// for some seconds after a start.
    pub(super) async fn left(node: &RabbitMq) -> Result<Vec<(String, u64)>> {
        let queues = [
            Self::worker_queue(),
            format!("{PREFIX}stripe.dead"),
            Self::commands(),
            format!("{PREFIX}stripe.commands.expired"),
        ];
        let names = queues.each_ref().map(|queue| format!("<<\"{queue}\">>"));
        // One command for all, since each starts an Erlang machine. A tuple, since
        // a list of small numbers is printed as a text.
        let printed = node
            .ctl(&[
                "eval",
                &format!(
                    "Count = fun(Name) -> \
                       {{ok, Queue}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, Name)), \
                       {{ok, {{_, Count}}, _}} = ra:leader_query(amqqueue:get_pid(Queue), \
                         {{rabbit_fifo, query_messages_total, []}}), \
                       Count end, \
                     list_to_tuple([Count(Name) || Name <- [{}]]).",
                    names.join(", ")
                ),
            ])
            .await?;
        let counts = printed.trim().trim_matches(['{', '}']).split(',');
        let counts: Result<Vec<u64>, _> = counts.map(str::parse).collect();
        let counts = counts.with_context(|| format!("counts of messages: {printed}"))?;
        ensure!(counts.len() == queues.len(), "not a count each: {printed}");
        Ok(queues.into_iter().zip(counts).collect())
    }

    /// Starts whatever service does not run, as a supervisor does, until it is
    /// dropped; counts those that ended by themselves.
    pub async fn supervise(self: Arc<Self>, ended: Arc<AtomicUsize>) {
        const LOOK: Duration = Duration::from_millis(100);
        loop {
            for service in self.services() {
                // Whoever holds the lock is at it already.
                if let Ok(mut service) = service.try_lock()
                    && !service.process().is_alive()
                {
                    ended.fetch_add(1, Ordering::Relaxed);
                    let last_words = checkout::tail(&service.options().log(), 3);
                    let name = &service.options().name;
                    eprintln!("{name} ended by itself; its log ends:\n{last_words}");
                    if let Err(error) = service.restart() {
                        eprintln!("{error:#}");
                    }
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn services(&self) -> [&Mutex<Service>; 3] {
        [&self.ingest, &self.workers[0], &self.workers[1]]
    }

    /// Copies the logs to a folder that stays.
    ///
    /// # Errors
    /// When they cannot be copied.
    pub fn keep_logs(&self, label: &str) -> Result<PathBuf> {
        let kept = checkout::dev_folder()?.join("faults-failed").join(label);
        checkout::remove_folder(&kept)?;
        checkout::make_folder(&kept)?;
        prepare::copy_logs(self.folder.path(), "", &kept)?;
        Ok(kept)
    }
}

/// The folder of services' programs has all that is needed.
///
/// # Errors
/// When one is missing.
pub fn check_programs() -> Result<()> {
    services::binary("ingest")?;
    services::binary("worker")?;
    Ok(())
}
