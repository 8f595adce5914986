//! Connecting to Postgres, as `DATABASE_URL` says.
//!
//! The URL is libpq's, with two additions. `sslmode` may be any of libpq's, and
//! `sslrootcert` names a file of certificates. Prisma's own parameters are
//! understood or left out, so that the main app's `DATABASE_URL` works as it
//! is: `schema` becomes the search path.

use std::{fmt, io, time::Duration};

use bb8::QueueStrategy;
use diesel::{ConnectionError, ConnectionResult, result::Error as QueryError};
use diesel_async::{
    AsyncPgConnection, SimpleAsyncConnection,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, PoolableConnection, RecyclingMethod, bb8::Pool,
    },
};
use futures_util::FutureExt;
use percent_encoding::percent_decode_str;
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::tls::{self, Asked, Tls};

/// How long a host may take to accept a connection, and then one may take to be
/// ready for a query, where `connect_timeout` in the URL says nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for a connection of the pool, new ones included.
const POOL_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections of one worker: one writes, the others look after waiting
/// invoices, undecided accounts and health.
const POOL_SIZE: u32 = 4;

/// What each connection is set to. A statement that waits for another's row
/// gives up before it holds back everything else; a transaction whose client
/// is gone gives its locks back.
const SESSION: &str = "SET lock_timeout = '500ms'; \
     SET statement_timeout = '30s'; \
     SET idle_in_transaction_session_timeout = '10s'";
/// What the worker's own connections are set to besides. All that they ask has
/// an index. Left to itself, the planner reads whole tables while it has no
/// statistics yet, so that a new deployment's first backlog costs more with
/// every row; and it plans statements of hundreds of values anew each time.
const PLANS: &str = "SET enable_seqscan = off; \
     SET plan_cache_mode = force_generic_plan; \
     SET jit = off";

/// Prisma's parameters that mean nothing here.
const PRISMA_ONLY: [&str; 6] = [
    "connection_limit",
    "pool_timeout",
    "socket_timeout",
    "pgbouncer",
    "statement_cache_size",
    "sslidentity",
];

/// Where the database is and how to reach it, checked.
#[derive(Clone)]
pub struct Database {
    url: String,
    config: Config,
    schema: Option<String>,
    tls: Tls,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("hosts", &self.config.get_hosts())
            .field("database", &self.config.get_dbname())
            .finish_non_exhaustive()
    }
}

/// Why a `DATABASE_URL` is refused. It never repeats the URL, which holds the
/// password.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// Not a URL of Postgres.
    #[error("a URL postgres://user:password@host:port/database")]
    Scheme,
    /// A `@` behind the `?`: the password holds a `?` as it is.
    #[error("special characters in the password to be percent-encoded")]
    Unescaped,
    /// A parameter that neither libpq nor Prisma knows, or a wrong value. Without
    /// the driver's own words: they repeat the parameter, which in a URL that is
    /// put together wrongly can be a part of the password.
    #[error("a URL whose parameters Postgres knows")]
    Parameter,
    /// An unknown `sslmode`.
    #[error("sslmode disable, allow, prefer, require, verify-ca or verify-full")]
    SslMode,
    /// An unknown `sslaccept`.
    #[error("sslaccept strict or accept_invalid_certs")]
    SslAccept,
    /// The file of `sslrootcert` cannot be read.
    #[error("sslrootcert to name a readable file of PEM certificates")]
    RootCert(#[source] io::Error),
    /// A name that cannot be a schema's.
    #[error("schema to be one schema's name")]
    Schema,
}

impl Database {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`UrlError`], whose text completes "expected ...".
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(UrlError::Scheme);
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        if query.contains('@') {
            return Err(UrlError::Unescaped);
        }
        let (mut kept, mut schema, mut asked) = (Vec::new(), None, Asked::default());
        for parameter in query.split('&').filter(|text| !text.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = || percent_decode_str(value).decode_utf8_lossy().into_owned();
            match name {
                "schema" => schema = Some(value()),
                "sslmode" => asked.mode = Some(value()),
                "sslrootcert" | "sslcert" => asked.root = Some(value()),
                "sslaccept" => asked.strict = tls::is_strict(&value())?,
                name if PRISMA_ONLY.contains(&name) => {}
                _ => kept.push(parameter),
            }
        }
        if schema
            .as_deref()
            .is_some_and(|name| name.is_empty() || name.contains(['"', '\0']))
        {
            return Err(UrlError::Schema);
        }
        let mut config: Config = format!("{base}?{}", kept.join("&"))
            .parse()
            .map_err(|_| UrlError::Parameter)?;
        let tls = tls::of(&asked, &mut config)?;
        config.application_name("dialoom-worker");
        let timeout = config.get_connect_timeout().copied();
        config.connect_timeout(timeout.unwrap_or(CONNECT_TIMEOUT));
        // A peer that vanished without a word is noticed within half a minute.
        config.keepalives_idle(Duration::from_secs(15));
        config.keepalives_interval(Duration::from_secs(5));
        config.tcp_user_timeout(Duration::from_secs(30));
        Ok(Self {
            url: url.to_owned(),
            config,
            schema,
            tls,
        })
    }

    /// Opens one connection.
    ///
    /// # Errors
    /// Postgres cannot be reached, refuses us or does not answer in time.
    pub async fn connect(&self) -> ConnectionResult<AsyncPgConnection> {
        // The driver's own timeout ends where the peer accepts. One that says
        // nothing after that would hold a place in the pool for ever.
        let one = self.config.get_connect_timeout().copied();
        let hosts = u32::try_from(self.config.get_hosts().len()).unwrap_or(1);
        let bound = one.unwrap_or(CONNECT_TIMEOUT) * (hosts + 1);
        let silent = |_| {
            let seconds = bound.as_secs();
            ConnectionError::BadConnection(format!("no answer within {seconds} s"))
        };
        let opened = tokio::time::timeout(bound, self.open()).await;
        opened.map_err(silent)?
    }

    async fn open(&self) -> ConnectionResult<AsyncPgConnection> {
        let refused = |error: tokio_postgres::Error| {
            ConnectionError::BadConnection(crate::error::chain(&error))
        };
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
        let mut settings = SESSION.to_owned();
        if let Some(schema) = &self.schema {
            settings.push_str(&format!("; SET search_path = \"{schema}\""));
        }
        connection
            .batch_execute(&settings)
            .await
            .map_err(ConnectionError::CouldntSetupConfiguration)?;
        Ok(connection)
    }

    /// A pool of connections for the worker's loops, opened when they are first
    /// needed.
    pub fn pool(&self) -> Pool<AsyncPgConnection> {
        let mut manager = ManagerConfig::default();
        let database = self.clone();
        manager.custom_setup = Box::new(move |_| {
            let database = database.clone();
            async move {
                let mut connection = database.connect().await?;
                connection
                    .batch_execute(PLANS)
                    .await
                    .map_err(ConnectionError::CouldntSetupConfiguration)?;
                Ok(connection)
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
            .max_size(POOL_SIZE)
            // The connection that was used last has its statements planned.
            .queue_strategy(QueueStrategy::Lifo)
            .connection_timeout(POOL_TIMEOUT)
            .build_unchecked(manager)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_parameter_is_not_repeated() {
        for url in ["postgres://a/db?sslmhush=1", "postgres://a:1?hush/db"] {
            let error = Database::parse(url).unwrap_err();
            let said = crate::error::chain(&error);
            assert!(!said.contains("hush"), "{said}");
        }
    }

    #[test]
    fn the_main_apps_url_works_as_it_is() {
        let url = "postgresql://app:secret@db.example/shop?schema=public&connection_limit=5&sslmode=require";
        let database = Database::parse(url).unwrap();
        assert_eq!(database.schema.as_deref(), Some("public"));
        assert!(!format!("{database:?}").contains("secret"));
    }

    #[test]
    fn a_wrong_url_is_refused_without_repeating_it() {
        for url in [
            "mysql://u:secret@h/db",
            "postgres://u:secret@h/db?sslmode=maybe",
            "postgres://u:secret@h/db?sslmode=verify-full&sslrootcert=/nowhere.pem",
            "postgres://u:secret@h/db?colour=blue",
            "postgres://u:secret@h/db?schema=a%22b",
            "postgres://u:secret@h/db?sslaccept=maybe",
            "postgres://u:p?secret@h/db",
            "",
        ] {
            let error = Database::parse(url).unwrap_err();
            assert!(!crate::error::chain(&error).contains("secret"), "{url}");
        }
    }
}
