//! Connecting to Postgres, as `DATABASE_URL` says.
//!
//! The URL is libpq's, with two additions. `sslmode` may be any of libpq's, and
//! `sslrootcert` names a file of certificates. Prisma's own parameters are
//! understood or left out, so that the main app's `DATABASE_URL` works as it
//! is: `schema` becomes the search path.

use std::{fmt, fs, io, sync::Arc, time::Duration};

use diesel::{ConnectionError, ConnectionResult};
use diesel_async::{
    AsyncPgConnection, SimpleAsyncConnection,
    pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, bb8::Pool},
};
use futures_util::FutureExt;
use percent_encoding::percent_decode_str;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio_postgres::{Config, NoTls, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::unverified::Unverified;

/// How long one attempt to connect may take.
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

/// Prisma's parameters that mean nothing here.
const PRISMA_ONLY: [&str; 7] = [
    "connection_limit",
    "pool_timeout",
    "socket_timeout",
    "pgbouncer",
    "statement_cache_size",
    "sslidentity",
    "sslaccept",
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

#[derive(Clone)]
enum Tls {
    Off,
    On(Arc<ClientConfig>),
}

/// Why a `DATABASE_URL` is refused. It never repeats the URL, which holds the
/// password.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// Not a URL of Postgres.
    #[error("a URL postgres://user:password@host:port/database")]
    Scheme,
    /// A parameter that neither libpq nor Prisma knows, or a wrong value.
    #[error("a URL whose parameters Postgres knows")]
    Parameter(#[source] tokio_postgres::Error),
    /// An unknown `sslmode`.
    #[error("sslmode disable, allow, prefer, require, verify-ca or verify-full")]
    SslMode,
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
        let (mut kept, mut schema, mut mode, mut root) = (Vec::new(), None, None, None);
        for parameter in query.split('&').filter(|text| !text.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = || percent_decode_str(value).decode_utf8_lossy().into_owned();
            match name {
                "schema" => schema = Some(value()),
                "sslmode" => mode = Some(value()),
                "sslrootcert" | "sslcert" => root = Some(value()),
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
            .map_err(UrlError::Parameter)?;
        let tls = tls(mode.as_deref(), root.as_deref(), &mut config)?;
        config.application_name("dialoom-worker");
        config.connect_timeout(CONNECT_TIMEOUT);
        // A peer that vanished without a word is noticed within half a minute.
        config.keepalives_idle(Duration::from_secs(15));
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
    /// Postgres cannot be reached or refuses us.
    pub async fn connect(&self) -> ConnectionResult<AsyncPgConnection> {
        let refused = |error: tokio_postgres::Error| {
            ConnectionError::BadConnection(shared::telemetry::report(&error))
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

    /// A pool of connections, opened when they are first needed.
    pub fn pool(&self) -> Pool<AsyncPgConnection> {
        let mut manager = ManagerConfig::default();
        let database = self.clone();
        manager.custom_setup = Box::new(move |_| {
            let database = database.clone();
            async move { database.connect().await }.boxed()
        });
        let manager = AsyncDieselConnectionManager::new_with_config(&self.url, manager);
        Pool::builder()
            .max_size(POOL_SIZE)
            .connection_timeout(POOL_TIMEOUT)
            .build_unchecked(manager)
    }
}

/// What libpq's `sslmode` asks for. `allow` and `prefer` are taken as Postgres's
/// own client takes them on TLS: encrypted where the server can, unverified.
fn tls(mode: Option<&str>, root: Option<&str>, config: &mut Config) -> Result<Tls, UrlError> {
    let (wire, verify) = match mode.unwrap_or("prefer") {
        "disable" => (SslMode::Disable, false),
        "allow" | "prefer" => (SslMode::Prefer, false),
        // With a root certificate at hand, libpq's `require` verifies as well.
        "require" => (SslMode::Require, root.is_some()),
        "verify-ca" | "verify-full" => (SslMode::Require, true),
        _ => return Err(UrlError::SslMode),
    };
    config.ssl_mode(wire);
    if wire == SslMode::Disable {
        return Ok(Tls::Off);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|_| UrlError::SslMode)?;
    let client = if verify {
        builder
            .with_root_certificates(roots(root)?)
            .with_no_client_auth()
    } else {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified::new(provider)))
            .with_no_client_auth()
    };
    Ok(Tls::On(Arc::new(client)))
}

fn roots(file: Option<&str>) -> Result<RootCertStore, UrlError> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file.filter(|file| *file != "system") else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(roots);
    };
    let unreadable = |reason: String| UrlError::RootCert(io::Error::other(reason));
    let pem = fs::read(file).map_err(UrlError::RootCert)?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| unreadable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unreadable("no certificate in it".into()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "",
        ] {
            let error = Database::parse(url).unwrap_err();
            assert!(
                !shared::telemetry::report(&error).contains("secret"),
                "{url}"
            );
        }
    }
}
