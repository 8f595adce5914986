//! The running worker: it starts the consumers, the jobs and the admin listener, and stops
//! them when it is told to.

pub mod deployment;
mod prepare;

use std::{io, net::SocketAddr, time::Duration};

use domain::{event, rejection::CLAIMED_BY_OTHER_ACCOUNT};
use prometheus_client::registry::Registry;
use shared::{
    admin::Admin,
    config::{ConfigError, Held},
    telemetry::report,
    topology::{Role, TopologyError},
};
use store::{Pool, main_app::booking, outbox::Outbox};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use self::prepare::prepare;
pub use self::prepare::{PrepareError, migrate};
use crate::{
    amqp::consumer::Queue,
    commands::{
        consumer::{self as commands, CommandConsumer},
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

    let spawn = Spawn { tasks, stop };
    let run = Jobs {
        spawn: &spawn,
        pool: &pool,
        metrics: &metrics,
    };
    run.job(ProjectPending::new(executor.clone()));
    run.job(WriteLateOutcomes {
        executor: executor.clone(),
    });
    run.job(CountBacklog {
        pool: pool.clone(),
        gauges: metrics.backlog.clone(),
    });
    run.job(Prune {
        pool: pool.clone(),
        retention: config.retention,
    });
    run.job(ReplayNewlyHandled {
        pool: pool.clone(),
        database: config.database.clone(),
        amqp: config.amqp.clone(),
        names: config.names.clone(),
        health: health.clone(),
    });
    if config.outbox == Outbox::On {
        run.job(PublishChanges::new(
            pool.clone(),
            config.amqp.clone(),
            config.names.clone(),
            metrics.changes.clone(),
        ));
    }
    if let Some(client) = &client {
        let read = metrics.accounts_read.clone();
        let mut job = ReadAccounts::new(pool.clone(), client.clone(), read);
        job.outbox = config.outbox;
        run.job(job);
    }
    let queue = |name, connection, prefetch| Queue {
        amqp: config.amqp.clone(),
        names: config.names.clone(),
        name,
        connection,
        prefetch,
        role: Role::Consumer,
    };
    let decoder = Decoder {
        rules: config.rules.clone(),
        decode: event::decode,
    };
    let command_service = CommandService {
        pool: command_pool.clone(),
        client: client.clone(),
        settings: config.commands.clone(),
        owner_query: config.owner_query.clone(),
        telling: Telling::start(executor.clone(), command_pool.clone(), config.outbox),
        decoder: decoder.clone(),
    };
    if let Some(client) = client {
        run.job(FinishCommands {
            service: command_service.clone(),
            client,
        });
    }
    let commands = CommandConsumer {
        queue: Queue {
            amqp: config.commands_amqp.clone(),
            role: Role::Commands,
            ..queue(
                config.names.commands.clone(),
                "dialoom-worker-commands",
                commands::PREFETCH,
            )
        },
        service: command_service,
        metrics: metrics.commands.clone(),
    };
    spawn.task({
        let stop = stop.clone();
        async move { commands.run(&stop).await }
    });
    let dead_queue = config.names.dead_queue.clone();
    let recorder = DeadLetterRecorder {
        queue: queue(
            dead_queue,
            "dialoom-worker-dead-letters",
            recorder::PREFETCH,
        ),
        pool,
        metrics: metrics.clone(),
    };
    spawn.task({
        let stop = stop.clone();
        async move { recorder.run(&stop).await }
    });
    let consumer = Consumer {
        queue: queue(
            config.names.worker.clone(),
            "dialoom-worker",
            consumer::PREFETCH,
        ),
        decoder,
        executor,
        metrics,
        health,
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

/// Starts jobs.
struct Jobs<'a> {
    spawn: &'a Spawn<'a>,
    pool: &'a Pool,
    metrics: &'a Metrics,
}

impl Jobs<'_> {
    fn job(&self, job: impl Job + 'static) {
        let (pool, metrics) = (self.pool.clone(), self.metrics.jobs.clone());
        let stop = self.spawn.stop.clone();
        self.spawn.task(jobs::run(job, pool, metrics, stop));
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

/// Asks the query for a booking that no one has, so that a wrong one is refused
/// now and not with the first event.
async fn check_owner_query(executor: &BatchExecutor) -> Result<(), ConfigError> {
    let (Some(query), Ok(conn)) = (&executor.owner_query, executor.pool.get().await) else {
        return Ok(());
    };
    match booking::owners(&conn, Some(query), &[0]).await {
        Ok(_) => Ok(()),
        // Nothing is known of the query then.
        Err(error) if error.is_unavailable() => Ok(()),
        Err(error) => Err(ConfigError::new(
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
