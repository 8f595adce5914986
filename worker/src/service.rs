//! The running worker: it starts the consumers, the jobs and the admin listener, and stops
//! them when it is told to.

pub mod deployment;
mod prepare;

use std::{io, net::SocketAddr, time::Duration};

use domain::{event, rejection::CLAIMED_BY_OTHER_ACCOUNT};
use lapin::types::ShortString;
use prometheus_client::registry::Registry;
use shared::{
    admin::Admin,
    config::{ConfigError, Held},
    telemetry::report,
    topology::{Role, TopologyError},
};
use store::{
    Pool,
    main_app::booking::{self, Taken},
    outbox::Outbox,
};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use self::prepare::prepare;
pub use self::prepare::{PrepareError, migrate};
use crate::{
    amqp::consumer::Queue,
    commands::{
        consumer::{self as commands, CommandConsumer},
        end_paid_checkouts::EndPaidCheckouts,
        finish::FinishCommands,
        service::CommandService,
        telling::Telling,
    },
    config::Config,
    dead_letters::recorder::{self, DeadLetterRecorder},
    health::Health,
    jobs::{
        self, Job, count_backlog::CountBacklog, project_pending::ProjectPending, prune::Prune,
        publish_changes::PublishChanges, read_accounts::ReadAccounts,
        replay_newly_handled::ReplayNewlyHandled, write_late_outcomes::WriteLateOutcomes,
    },
    metrics::Metrics,
    pipeline::{
        consumer::{self, Consumer},
        delivery::Decoder,
        executor::BatchExecutor,
    },
    stripe::client::Client,
};

/// How long the batch in hand may take to finish after a signal.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// Why the worker cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A variable whose value the database or the API does not take.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database is not fit for this worker.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The broker's topology differs from ours.
    #[error("the broker's topology does not fit")]
    Topology(#[from] TopologyError),
    /// Something that has to run has ended by itself; the log says why.
    #[error("a part of the worker has ended")]
    TaskEnded,
    /// The admin listener's address is not to be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Runs until `stop`. A database or a broker that is away is waited for.
///
/// # Errors
/// [`RunError`]: what no waiting mends.
pub async fn run(config: Config, migrate: bool, stop: CancellationToken) -> Result<(), RunError> {
    let address = config.admin_listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| RunError::Listen { address, source })?;
    let (health, metrics, mut registry) =
        (Health::default(), Metrics::default(), Registry::default());
    metrics.register(&mut registry, &health);
    let pool = config.database.pool();
    let admin = Admin::new(registry, {
        let (pool, health) = (pool.clone(), health.clone());
        move || ready(pool.clone(), health.clone(), Instant::now())
    });
    let tasks = TaskTracker::new();
    // Cancelled by `stop`, and by the end of anything that has to run.
    let halt = stop.child_token();
    let serving = stop.child_token();
    let admin = tokio::spawn(admin.serve(listener, serving.clone()));

    let result = work(config, migrate, pool, health, metrics, &tasks, &halt).await;
    let result = match result {
        Ok(()) if !stop.is_cancelled() => Err(RunError::TaskEnded),
        result => result,
    };

    halt.cancel();
    tasks.close();
    if tokio::time::timeout(STOP_WITHIN, tasks.wait())
        .await
        .is_err()
    {
        warn!("stopped before all was finished; what is left comes again");
    }
    serving.cancel();
    let _ended = admin.await;
    // Else the reason is the last line, and at a wrong configuration the only one.
    if result.is_ok() {
        info!("stopped");
    }
    result
}

/// Starts what runs beside the consumer of events, and consumes them until `stop`.
async fn work(
    config: Config,
    migrate: bool,
    pool: Pool,
    health: Health,
    metrics: Metrics,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let command_pool = config.database.pool_of(commands::CONNECTIONS);
    let client = client(&config, &metrics, &command_pool)?;
    if !prepare(&config, migrate, stop).await? {
        return Ok(());
    }
    let archive = config.retention.archive();
    let mut executor = BatchExecutor::new(pool.clone(), config.owner_query.clone(), archive);
    executor.refused_late = metrics.dead(CLAIMED_BY_OTHER_ACCOUNT);
    executor.health = health.clone();
    executor.outbox = config.outbox;
    check_owner_query(&executor).await?;

    let decoder = Decoder {
        rules: config.rules.clone(),
        decode: event::decode,
    };
    let commands = CommandService {
        pool: command_pool.clone(),
        client: client.clone(),
        settings: config.commands.clone(),
        owner_query: config.owner_query.clone(),
        telling: Telling::start(executor.clone(), command_pool, config.outbox),
        is_redelivered: false,
        decoder: decoder.clone(),
    };
    let parts = Parts {
        config: &config,
        pool: &pool,
        health: &health,
        metrics: &metrics,
        spawn: &Spawn { tasks, stop },
    };
    parts.start_jobs(&executor);
    if let Some(client) = client {
        parts.start_jobs_of_the_api(&client, &commands);
    }
    parts.start_commands(commands);
    parts.start_recorder();
    let queue = config.names.worker.clone();
    let consumer = Consumer {
        queue: parts.queue(queue, "dialoom-worker", consumer::PREFETCH),
        decoder,
        executor,
        metrics: metrics.clone(),
        health: health.clone(),
    };
    Ok(consumer.run(stop).await?)
}

fn client(config: &Config, metrics: &Metrics, pool: &Pool) -> Result<Option<Client>, ConfigError> {
    let client = config.api.clone().map(|api| {
        Client::new(api, metrics.stripe.clone(), Some(pool.clone())).map_err(|error| {
            let held = Held::secret("");
            ConfigError::new("STRIPE_API_KEY", held, error.to_string())
        })
    });
    client.transpose()
}

/// Starts the parts that run beside the consumer of events.
struct Parts<'a> {
    config: &'a Config,
    pool: &'a Pool,
    health: &'a Health,
    metrics: &'a Metrics,
    spawn: &'a Spawn<'a>,
}

impl Parts<'_> {
    /// The jobs that need the database and the broker alone.
    fn start_jobs(&self, executor: &BatchExecutor) {
        let Self { config, pool, .. } = *self;
        self.start_job(ProjectPending::new(executor.clone()));
        self.start_job(WriteLateOutcomes {
            executor: executor.clone(),
        });
        self.start_job(CountBacklog {
            pool: pool.clone(),
            gauges: self.metrics.backlog.clone(),
        });
        self.start_job(Prune {
            pool: pool.clone(),
            retention: config.retention,
        });
        self.start_job(ReplayNewlyHandled {
            pool: pool.clone(),
            database: config.database.clone(),
            amqp: config.amqp.clone(),
            names: config.names.clone(),
            health: self.health.clone(),
        });
        if config.outbox == Outbox::On {
            self.start_job(PublishChanges::new(
                pool.clone(),
                config.amqp.clone(),
                config.names.clone(),
                self.metrics.changes.clone(),
            ));
        }
    }

    /// The jobs that ask Stripe.
    fn start_jobs_of_the_api(&self, client: &Client, commands: &CommandService) {
        let read = self.metrics.accounts_read.clone();
        let mut job = ReadAccounts::new(self.pool.clone(), client.clone(), read);
        job.outbox = self.config.outbox;
        self.start_job(job);
        self.start_job(FinishCommands {
            service: commands.clone(),
            client: client.clone(),
        });
        self.start_job(EndPaidCheckouts::new(commands.clone(), client.clone()));
    }

    fn start_job(&self, job: impl Job + 'static) {
        let (pool, metrics) = (self.pool.clone(), self.metrics.jobs.clone());
        let stop = self.spawn.stop.clone();
        self.spawn.task(jobs::run(job, pool, metrics, stop));
    }

    /// The consumer of the main app's commands.
    fn start_commands(&self, service: CommandService) {
        let queue = self.config.names.commands.clone();
        let commands = CommandConsumer {
            queue: Queue {
                amqp: self.config.commands_amqp.clone(),
                role: Role::Commands,
                ..self.queue(queue, "dialoom-worker-commands", commands::PREFETCH)
            },
            service,
            metrics: self.metrics.commands.clone(),
        };
        let stop = self.spawn.stop.clone();
        self.spawn.task(async move { commands.run(&stop).await });
    }

    /// The recorder of the dead letters of the broker.
    fn start_recorder(&self) {
        let queue = self.config.names.dead_queue.clone();
        let recorder = DeadLetterRecorder {
            queue: self.queue(queue, "dialoom-worker-dead-letters", recorder::PREFETCH),
            pool: self.pool.clone(),
            metrics: self.metrics.clone(),
        };
        let stop = self.spawn.stop.clone();
        self.spawn.task(async move { recorder.run(&stop).await });
    }

    fn queue(&self, name: ShortString, connection: &'static str, prefetch: u16) -> Queue {
        Queue {
            amqp: self.config.amqp.clone(),
            names: self.config.names.clone(),
            name,
            connection,
            prefetch,
            role: Role::Consumer,
        }
    }
}

/// Starts the tasks that run beside the consumer.
struct Spawn<'a> {
    tasks: &'a TaskTracker,
    stop: &'a CancellationToken,
}

impl Spawn<'_> {
    /// Starts a task that is to run until `stop`. If it ends before, which only a
    /// panic makes it do, the worker ends as well: it would go on without it, and
    /// say that it is ready.
    fn task<T>(&self, task: impl Future<Output = T> + Send + 'static) {
        let ended = self.stop.clone().drop_guard();
        self.tasks.spawn(async move {
            let _ended = ended;
            drop(task.await);
        });
    }
}

/// Asks the query for a booking that no one has, so that a wrong one is refused now and not with
/// the first event. A table that the main app has locked is no fault of the query: the worker
/// starts, and bookings that cannot be read are pending.
///
/// # Errors
/// The database does not take the query.
pub async fn check_owner_query(executor: &BatchExecutor) -> Result<(), ConfigError> {
    let (Some(query), Ok(conn)) = (&executor.owner_query, executor.pool.get().await) else {
        return Ok(());
    };
    match booking::try_query(&conn, query).await {
        Ok(Taken::Yes) => Ok(()),
        Ok(Taken::NotTried(error)) | Err(error) => {
            let reason = store::in_log(&error);
            warn!(reason, "BOOKING_OWNER_QUERY could not be tried");
            Ok(())
        }
        Ok(Taken::No(error)) => Err(ConfigError::new(
            "BOOKING_OWNER_QUERY",
            Held::value(query),
            format!("a query that this database takes: {}", report(&error)),
        )),
    }
}

/// What `/readyz` says at `now`.
///
/// # Errors
/// The worker does not do its work; the text says why.
pub async fn ready(pool: Pool, health: Health, now: Instant) -> Result<(), String> {
    let conn = pool.get().await;
    let conn = conn.map_err(|_| "the database cannot be reached".to_owned())?;
    booking::are_here(&conn)
        .await
        .map_err(|_| "the database does not answer".to_owned())?;
    health.check(now).map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rest would go on without it, and say that it is ready.
    #[tokio::test]
    async fn a_part_that_ends_by_itself_ends_the_worker() {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let spawn = Spawn {
            tasks: &tasks,
            stop: &stop,
        };
        let lasting = stop.clone();
        spawn.task(async move { lasting.cancelled().await });
        tokio::task::yield_now().await;
        assert!(!stop.is_cancelled());
        spawn.task(async { panic!("a mistake") });
        stop.cancelled().await;
        tasks.close();
        tasks.wait().await;
    }
}
