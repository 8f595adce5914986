//! The running worker: the queue, the waiting invoices, the undecided accounts
//! and the admin listener, until it is told to stop.

use std::{io, net::SocketAddr, time::Duration};

use diesel_async::{AsyncPgConnection, pooled_connection::bb8::Pool};
use prometheus_client::registry::Registry;
use shared::{
    admin::Admin,
    config::{ConfigError, Held},
    telemetry::report,
    topology::TopologyError,
};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    backoff::Backoff,
    burial::Burial,
    consume::Consume,
    events::{self, rejection::CLAIMED_BY_OTHER_ACCOUNT},
    gather::Reading,
    health::Health,
    metrics::Metrics,
    prune, reread,
    settings::Settings,
    settle::Settler,
    store::{
        app,
        connect::Database,
        migrate::{self, MigrateError},
    },
    stripe_api::Api,
    waiting,
};

/// How long the unit in hand may take to finish after a signal.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// Why the worker cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A variable whose value the database or the API does not take.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tables.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
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
pub async fn run(
    settings: Settings,
    migrate: bool,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let address = settings.admin_listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| RunError::Listen { address, source })?;
    let (health, metrics, mut registry) =
        (Health::default(), Metrics::default(), Registry::default());
    metrics.register(&mut registry);
    let pool = settings.database.pool();
    let admin = Admin::new(registry, {
        let (pool, health) = (pool.clone(), health.clone());
        move || ready(pool.clone(), health.clone())
    });
    let tasks = TaskTracker::new();
    // Cancelled by `stop`, and by the end of anything that has to run.
    let halt = stop.child_token();
    let serving = stop.child_token();
    let admin = tokio::spawn(admin.serve(listener, serving.clone()));

    let result = work(settings, migrate, pool, health, metrics, &tasks, &halt).await;
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
    info!("stopped");
    result
}

async fn work(
    settings: Settings,
    migrate: bool,
    pool: Pool<AsyncPgConnection>,
    health: Health,
    metrics: Metrics,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let api = settings.api.as_ref().map(Api::new).transpose();
    let api = api.map_err(|_| {
        let held = settings.api.as_ref().map(|api| Held::value(&api.base));
        let held = held.unwrap_or(Held::Nothing);
        ConfigError::new(
            "STRIPE_API_BASE",
            held,
            "a URL such as https://api.stripe.com/",
        )
    })?;
    if !prepare(&settings.database, migrate, stop).await? {
        return Ok(());
    }
    let mut settler = Settler::new(pool, settings.owner_query, settings.retention.keep());
    settler.refused_late = metrics.dead(CLAIMED_BY_OTHER_ACCOUNT);
    check_owner_query(&settler).await?;
    let spawn = Spawn { tasks, stop };
    spawn.task({
        let (settler, stop) = (settler.clone(), stop.clone());
        async move { waiting::run(&settler, &stop).await }
    });
    if let Some(api) = api {
        let (settler, metrics, stop) = (settler.clone(), metrics.clone(), stop.clone());
        spawn.task(async move { reread::run(&settler, &api, &metrics, &stop).await });
    }
    let burial = Burial {
        amqp: settings.amqp.clone(),
        names: settings.names.clone(),
        pool: settler.pool.clone(),
        metrics: metrics.clone(),
    };
    spawn.task({
        let stop = stop.clone();
        async move { burial.run(&stop).await }
    });
    spawn.task({
        let (pool, retention, stop) = (settler.pool.clone(), settings.retention, stop.clone());
        async move { prune::run(&pool, retention, &stop).await }
    });
    let consume = Consume {
        amqp: settings.amqp,
        names: settings.names,
        reading: Reading {
            rules: settings.rules,
            reader: events::read,
        },
        settler,
        metrics,
        health,
    };
    Ok(consume.run(stop).await?)
}

/// Starts what runs beside the queue.
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

/// Makes or checks the tables as soon as the database is there; `false` if the
/// worker is to stop before.
async fn prepare(
    database: &Database,
    migrate: bool,
    stop: &CancellationToken,
) -> Result<bool, RunError> {
    /// A database that is taken away in the middle looks like one that refuses:
    /// so many tries tell them apart.
    const TRIES: u32 = 3;
    let mut backoff = Backoff::default();
    let mut failed = 0;
    loop {
        match tables(database, migrate).await {
            Ok(Tables::Ready) => return Ok(true),
            Ok(Tables::Away(reason)) => warn!(reason, "the database is away"),
            Err(error) if error.may_pass() && failed < TRIES => {
                failed += 1;
                warn!(reason = %report(&error), "the tables are not ready; trying again");
            }
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            () = backoff.pause() => {}
            () = stop.cancelled() => return Ok(false),
        }
    }
}

enum Tables {
    Ready,
    /// The database cannot be reached, or takes no writes.
    Away(String),
}

async fn tables(database: &Database, migrate: bool) -> Result<Tables, MigrateError> {
    let connection = match database.connect().await {
        Ok(connection) => connection,
        Err(error) => return Ok(Tables::Away(report(&error))),
    };
    if !migrate {
        migrate::check(connection).await?;
        return Ok(Tables::Ready);
    }
    if !migrate::takes_writes(&connection).await? {
        return Ok(Tables::Away("it takes no writes now".into()));
    }
    for name in migrate::up(connection).await? {
        info!("migration run: {name}");
    }
    Ok(Tables::Ready)
}

/// Asks the query for a booking that no one has, so that a wrong one is refused
/// now and not with the first event.
async fn check_owner_query(settler: &Settler) -> Result<(), ConfigError> {
    let (Some(query), Ok(conn)) = (&settler.owner_query, settler.pool.get().await) else {
        return Ok(());
    };
    match app::owner(&conn, query, 0).await {
        Ok(_) => Ok(()),
        // Nothing is known of the query then.
        Err(error) if is_away(&error) => Ok(()),
        Err(error) => Err(ConfigError::new(
            "BOOKING_OWNER_QUERY",
            Held::value(query),
            format!("a query that this database takes: {}", report(&error)),
        )),
    }
}

fn is_away(error: &diesel::result::Error) -> bool {
    use diesel::result::{DatabaseErrorKind, Error};
    let Error::DatabaseError(kind, _) = error else {
        return false;
    };
    matches!(
        kind,
        DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand
    )
}

async fn ready(pool: Pool<AsyncPgConnection>, health: Health) -> Result<(), String> {
    let conn = pool.get().await;
    let conn = conn.map_err(|_| "the database cannot be reached".to_owned())?;
    app::has_bookings(&conn)
        .await
        .map_err(|_| "the database does not answer".to_owned())?;
    if health.is_consuming() {
        Ok(())
    } else {
        Err("the queue is not being consumed".to_owned())
    }
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
