//! Private PostgreSQL and RabbitMQ servers, on loopback ports of their own.
//!
//! Every server keeps all it has in one folder. A folder that holds a server
//! already is taken up again: its data, its port and its password stay, and a
//! server that still runs there is used as it is.

pub mod epmd;
pub mod postgres;
pub mod rabbitmq;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use tokio::net::TcpStream;

pub use self::{
    postgres::{Postgres, PostgresOptions},
    rabbitmq::{RabbitMq, RabbitMqOptions},
};
use crate::checkout;

/// Bound for a given server to take a connection.
const GIVEN_BOUND: Duration = Duration::from_secs(10);

/// What a server promises about data that it has confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// As in production: confirmed data survives a power failure.
    #[default]
    Durable,
    /// Confirmed data survives a killed server, but not a power failure: nothing
    /// waits for the disk. For tests.
    Fast,
}

/// Addresses of servers that are there already, so that none is started for them.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// `DATABASE_URL`, where it is set.
    pub database_url: Option<String>,
    /// `AMQP_URL`, where it is set.
    pub amqp_url: Option<String>,
}

impl Given {
    /// Reads `DATABASE_URL` and `AMQP_URL`; blank counts as not set.
    #[must_use]
    pub fn from_env() -> Self {
        let read = |name| {
            std::env::var(name)
                .ok()
                .filter(|value: &String| !value.trim().is_empty())
        };
        Self {
            database_url: read("DATABASE_URL"),
            amqp_url: read("AMQP_URL"),
        }
    }
}

/// A PostgreSQL and a RabbitMQ, each either given or private.
#[derive(Debug)]
pub struct Servers {
    /// The private PostgreSQL, unless one was given.
    pub postgres: Option<Postgres>,
    /// The private RabbitMQ, unless one was given.
    pub rabbitmq: Option<RabbitMq>,
    given: Given,
}

impl Servers {
    /// Starts those that are not given, both at once, with their data below `folder`.
    ///
    /// # Errors
    /// When a server is not installed or does not become ready; what was started
    /// by then is stopped again.
    pub async fn start(
        folder: &Path,
        given: Given,
        postgres: PostgresOptions,
        rabbitmq: RabbitMqOptions,
    ) -> Result<Self> {
        tokio::try_join!(
            answers("DATABASE_URL", given.database_url.as_deref(), 5432),
            answers("AMQP_URL", given.amqp_url.as_deref(), 5672),
        )?;
        checkout::make_folder(folder)?;
        let postgres_folder = folder.join("postgres");
        let rabbitmq_folder = folder.join("rabbitmq");
        let (postgres, rabbitmq) = tokio::join!(
            async {
                match given.database_url {
                    Some(_) => Ok(None),
                    None => Postgres::start(&postgres_folder, postgres).await.map(Some),
                }
            },
            async {
                match given.amqp_url {
                    Some(_) => Ok(None),
                    None => RabbitMq::start(&rabbitmq_folder, rabbitmq).await.map(Some),
                }
            },
        );
        Ok(Self {
            postgres: postgres?,
            rabbitmq: rabbitmq?,
            given,
        })
    }

    /// Address of the database.
    #[must_use]
    pub fn database_url(&self) -> String {
        let given = self.given.database_url.clone().unwrap_or_default();
        self.postgres.as_ref().map_or(given, Postgres::url)
    }

    /// Address of the broker.
    #[must_use]
    pub fn amqp_url(&self) -> String {
        let given = self.given.amqp_url.clone().unwrap_or_default();
        self.rabbitmq.as_ref().map_or(given, RabbitMq::url)
    }

    /// Keeps the servers running when this value goes.
    pub fn leave_running(&self) {
        if let Some(postgres) = &self.postgres {
            postgres.leave_running();
        }
        if let Some(rabbitmq) = &self.rabbitmq {
            rabbitmq.leave_running();
        }
    }
}

/// Finds a given address at which nobody listens, before anything waits for it.
async fn answers(variable: &str, url: Option<&str>, default_port: u16) -> Result<()> {
    // Only an address with one host can be tried; the others are let pass.
    let Some(url) = url.and_then(|url| url::Url::parse(url).ok()) else {
        return Ok(());
    };
    let Some(host) = url.host_str() else {
        return Ok(());
    };
    let port = url.port().unwrap_or(default_port);
    let connected = tokio::time::timeout(GIVEN_BOUND, TcpStream::connect((host, port))).await;
    connected
        .map_err(anyhow::Error::from)
        .and_then(|result| Ok(result?))
        .with_context(|| {
            format!(
                "{variable} is set, but no server answers at {host}:{port} \
             (unset it to have one started here)"
            )
        })?;
    Ok(())
}
