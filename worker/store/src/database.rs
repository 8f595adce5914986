//! Connections to the database, and the pool of the worker's loops.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bb8::QueueStrategy;
use diesel::{
    ConnectionError,
    result::{DatabaseErrorKind, Error as QueryError},
};
use diesel_async::{
    AsyncPgConnection, SimpleAsyncConnection,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, PoolableConnection, RecyclingMethod,
    },
};
use futures_util::FutureExt;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{
    ConnectError, Connection, Pool,
    error::chain,
    session::{self, Unfit},
    tls::Tls,
};

/// How long a host may take to accept a connection, and then one may take to be
/// ready for a query, where `connect_timeout` in the URL says nothing.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for a connection of the pool, new ones included.
const POOL_TIMEOUT: Duration = Duration::from_secs(10);
/// The most connections of one worker, opened when they are needed: the executor, the recorder,
/// what commands tell and `/readyz` use one each, a job one for its lock and one for its work.
/// Nobody who holds one may have to wait for another.
const POOL_SIZE: u32 = 10;

/// What the worker's own connections are set to besides. All that they ask has
/// an index. Left to itself, the planner reads whole tables while it has no
/// statistics yet, so that a new deployment's first backlog costs more with
/// every row; and it plans statements of hundreds of values anew each time. Where a page
/// out of order costs more than the next one, it reads all claims on a booking and sorts
/// them, instead of the first ones by their index, as soon as it believes them to be few.
const PLANS: &str = "SET enable_seqscan = off; \
     SET random_page_cost = 1; \
     SET seq_page_cost = 1; \
     SET plan_cache_mode = force_generic_plan; \
     SET jit = off";

/// Why a connection of the pool is not opened although the database answers.
const READ_ONLY: &str = "it takes no writes now";

/// Where the database is and how to reach it, checked.
#[derive(Clone)]
pub struct Database {
    pub(crate) url: String,
    pub(crate) config: Config,
    pub(crate) schema: Option<String>,
    pub(crate) tls: Tls,
    /// The main app's schema, as the first session found it. Where the search path is
    /// changed in the database, later sessions would write to other tables.
    pub(crate) seen_schema: Arc<OnceLock<String>>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("hosts", &self.config.get_hosts())
            .field("database", &self.config.get_dbname())
            .finish_non_exhaustive()
    }
}

impl Database {
    /// Opens one connection.
    ///
    /// # Errors
    /// Postgres cannot be reached, refuses us, does not answer in time, or does not keep
    /// what a session of the worker is set to.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        self.in_time(self.open()).await
    }

    /// Opens a connection that is set to nothing and asks by simple queries, which every
    /// pooler takes. It ends when it is dropped.
    pub(crate) async fn plain_client(&self) -> Result<Client, ConnectError> {
        self.in_time(async {
            Ok(match &self.tls {
                Tls::Off => {
                    let (client, driver) = self.config.connect(NoTls).await.map_err(refused)?;
                    tokio::spawn(driver);
                    client
                }
                Tls::On(tls) => {
                    let tls = MakeRustlsConnect::new((**tls).clone());
                    let (client, driver) = self.config.connect(tls).await.map_err(refused)?;
                    tokio::spawn(driver);
                    client
                }
            })
        })
        .await
    }

    /// The driver's own timeout ends where the peer accepts. One that says nothing after
    /// that would hold a place in the pool for ever.
    async fn in_time<T>(
        &self,
        opened: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        let one = self.config.get_connect_timeout().copied();
        let hosts = u32::try_from(self.config.get_hosts().len()).unwrap_or(1);
        let bound = one.unwrap_or(CONNECT_TIMEOUT) * (hosts + 1);
        let silent = |_| {
            let seconds = bound.as_secs();
            ConnectionError::BadConnection(format!("no answer within {seconds} s"))
        };
        let opened = tokio::time::timeout(bound, opened).await;
        opened.map_err(silent)?
    }

    async fn open(&self) -> Result<AsyncPgConnection, ConnectError> {
        let mut connection = match &self.tls {
            Tls::Off => {
                let (client, driver) = self.config.connect(NoTls).await.map_err(refused)?;
                AsyncPgConnection::try_from_client_and_connection(client, driver).await?
            }
            Tls::On(tls) => {
                let tls = MakeRustlsConnect::new((**tls).clone());
                let (client, driver) = self.config.connect(tls).await.map_err(refused)?;
                AsyncPgConnection::try_from_client_and_connection(client, driver).await?
            }
        };
        let schema = session::prepare(&mut connection, self.schema.as_deref()).await;
        if let Some(schema) = schema.map_err(unfit)? {
            self.check_schema(schema)?;
        }
        Ok(connection)
    }

    /// Refuses a session whose main app's schema is another than that of the first one.
    fn check_schema(&self, schema: String) -> Result<(), ConnectError> {
        let first = self.seen_schema.get_or_init(|| schema.clone());
        if *first == schema {
            return Ok(());
        }
        Err(ConnectError::Settings(format!(
            "the search path leads to the schema {schema:?}, and led to {first:?} before"
        )))
    }

    /// A pool of connections for the worker's loops, opened when they are first
    /// needed.
    pub fn pool(&self) -> Pool {
        self.pool_of(POOL_SIZE)
    }

    /// As [`Database::pool`], of at most `size` connections.
    pub fn pool_of(&self, size: u32) -> Pool {
        let mut manager = ManagerConfig::default();
        let database = self.clone();
        manager.custom_setup = Box::new(move |_| {
            let database = database.clone();
            async move {
                let mut connection = database.connect().await.map_err(connection_error)?;
                connection
                    .batch_execute(PLANS)
                    .await
                    .map_err(ConnectionError::CouldntSetupConfiguration)?;
                // It would stay read-only for as long as the pool has it, also after the
                // database takes writes again.
                match session::takes_writes(&connection).await {
                    Ok(true) => Ok(connection),
                    Ok(false) => Err(ConnectionError::BadConnection(READ_ONLY.into())),
                    Err(error) => Err(ConnectionError::BadConnection(chain(&error))),
                }
            }
            .boxed()
        });
        // A connection that was closed is known as such without asking, and one
        // that breaks later is found by the transaction.
        manager.recycling_method = RecyclingMethod::CustomFunction(Box::new(|connection| {
            let broken = connection.is_broken();
            async move {
                (!broken)
                    .then_some(())
                    .ok_or(QueryError::BrokenTransactionManager)
            }
            .boxed()
        }));
        let manager = AsyncDieselConnectionManager::new_with_config(&self.url, manager);
        Pool::builder()
            .max_size(size)
            // The connection that was used last has its statements planned.
            .queue_strategy(QueueStrategy::Lifo)
            .connection_timeout(POOL_TIMEOUT)
            .build_unchecked(manager)
    }
}

fn refused(error: tokio_postgres::Error) -> ConnectionError {
    ConnectionError::BadConnection(chain(&error))
}

fn unfit(unfit: Unfit) -> ConnectError {
    use DatabaseErrorKind::{ClosedConnection, UnableToSendCommand};
    match unfit {
        Unfit::Differs(what) => ConnectError::Settings(what),
        Unfit::Failed(QueryError::DatabaseError(kind, said))
            if !matches!(kind, ClosedConnection | UnableToSendCommand) =>
        {
            ConnectError::Settings(said.message().to_owned())
        }
        Unfit::Failed(error) => ConnectionError::CouldntSetupConfiguration(error).into(),
    }
}

/// The error as the pool takes it.
fn connection_error(error: ConnectError) -> ConnectionError {
    match error {
        ConnectError::Unreachable(error) => error,
        error @ ConnectError::Settings(_) => ConnectionError::BadConnection(error.to_string()),
    }
}
