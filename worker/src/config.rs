//! The worker's configuration, from the environment alone.

pub mod commands;

use std::net::SocketAddr;

use domain::rules::{ATTEMPT_KEY, Rules};
use shared::{
    amqp::AmqpUrl,
    config::{ConfigError, Env, Held},
    topology::Names,
};

use store::{Database, archive_page::ArchivePolicy, outbox::Outbox};

use self::commands::CommandSettings;
use crate::stripe::config::ApiConfig;

/// The metadata key that names the booking, where nothing else is said.
const DEFAULT_BOOKING_KEY: &str = "dialoomBookingId";
/// The broker that commands come by, where it is not that of the events.
const COMMANDS_AMQP_URL: &str = "COMMANDS_AMQP_URL";
/// Stripe allows metadata keys of 40 characters.
const MAX_BOOKING_KEY: usize = 40;

/// The configuration of the commands that need only the database.
#[derive(Debug)]
pub struct DatabaseConfig {
    /// The database.
    pub database: Database,
}

/// The configuration of `worker run`.
#[derive(Debug)]
pub struct Config {
    /// The database.
    pub database: Database,
    /// The broker.
    pub amqp: AmqpUrl,
    /// The names of exchanges and queues.
    pub names: Names,
    /// What is put before each of them.
    pub amqp_prefix: String,
    /// What decoding depends on.
    pub rules: Rules,
    /// The deployment's query for a booking's account.
    pub owner_query: Option<String>,
    /// The admin listener.
    pub admin_listen: SocketAddr,
    /// Stripe's API, where a key is configured.
    pub api: Option<ApiConfig>,
    /// The broker that commands come by.
    pub commands_amqp: AmqpUrl,
    /// What the deployment sets for commands.
    pub commands: CommandSettings,
    /// Whether the main app is told of its rows' changes.
    pub outbox: Outbox,
    /// How long rows are kept that nobody waits for.
    pub retention: Retention,
}

/// How long rows are kept that nobody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Days that the bytes of events are kept; 0 is never.
    pub events_days: u16,
    /// Days that the ledger, and dead letters that are resolved or discarded, are kept.
    pub ledger_days: u16,
}

/// Stripe delivers an event for three days, and can be asked for it for thirty.
/// An event that came again after its row was gone would be applied again.
pub const MIN_LEDGER_DAYS: u16 = 35;

impl Retention {
    /// Reads `KEEP_EVENTS_DAYS` and `KEEP_LEDGER_DAYS`.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        const EVENTS: &str = "a whole number of days, 0 to keep none";
        const LEDGER: &str = "a whole number of days, 35 at least";
        let days = |value: &str| value.parse::<u16>().ok();
        Ok(Self {
            events_days: env.parsed("KEEP_EVENTS_DAYS", EVENTS, days)?.unwrap_or(30),
            ledger_days: env
                .parsed("KEEP_LEDGER_DAYS", LEDGER, |value| {
                    days(value).filter(|days| *days >= MIN_LEDGER_DAYS)
                })?
                .unwrap_or(40),
        })
    }

    /// Whether the bytes of events are archived.
    pub fn archive(self) -> ArchivePolicy {
        match self.events_days {
            0 => ArchivePolicy::Never,
            _ => ArchivePolicy::Compressed,
        }
    }
}

impl DatabaseConfig {
    /// Reads `DATABASE_URL`.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        const NAME: &str = "DATABASE_URL";
        let url = env.required(NAME, "a URL postgres://user:password@host:port/database")?;
        let database = Database::parse(url).map_err(|error| {
            ConfigError::new(NAME, Held::secret(url), shared::telemetry::report(&error))
        })?;
        Ok(Self { database })
    }
}

impl Config {
    /// Reads and checks every variable.
    ///
    /// # Errors
    /// The first variable that is missing or wrong.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let mode = shared::config::mode(env)?;
        Ok(Self {
            database: DatabaseConfig::from_env(env)?.database,
            commands_amqp: match env.optional(COMMANDS_AMQP_URL)? {
                Some(_) => AmqpUrl::from_variable(env, COMMANDS_AMQP_URL)?,
                None => AmqpUrl::from_env(env)?,
            },
            amqp: AmqpUrl::from_env(env)?,
            commands: CommandSettings::from_env(env)?,
            names: Names::from_env(env)?,
            amqp_prefix: amqp_prefix(env)?,
            rules: Rules {
                mode,
                booking_key: booking_key(env)?,
                client_reference: client_reference(env)?,
                application: application(env)?,
            },
            owner_query: owner_query(env)?,
            admin_listen: admin_listen(env)?,
            api: ApiConfig::from_env(env, mode)?,
            outbox: outbox(env)?,
            retention: Retention::from_env(env)?,
        })
    }
}

/// The address of the admin listener, which `worker healthcheck` asks.
pub fn admin_listen(env: &Env) -> Result<SocketAddr, ConfigError> {
    const EXPECTED: &str = "an address and port, such as 127.0.0.1:8082";
    let given = env.parsed("WORKER_ADMIN_LISTEN", EXPECTED, |value| value.parse().ok())?;
    Ok(given.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8082))))
}

/// What is put before the broker's names, as `AMQP_PREFIX` says.
pub fn amqp_prefix(env: &Env) -> Result<String, ConfigError> {
    Ok(env.optional("AMQP_PREFIX")?.unwrap_or_default().to_owned())
}

fn booking_key(env: &Env) -> Result<String, ConfigError> {
    const EXPECTED: &str =
        "a metadata key of at most 40 characters, without [ and ], other than commandAttempt";
    let key = env.parsed("BOOKING_METADATA_KEY", EXPECTED, |value| {
        let fits = value.chars().count() <= MAX_BOOKING_KEY
            && !value.contains(['[', ']'])
            && value != ATTEMPT_KEY;
        fits.then(|| value.to_owned())
    })?;
    Ok(key.unwrap_or_else(|| DEFAULT_BOOKING_KEY.to_owned()))
}

fn client_reference(env: &Env) -> Result<bool, ConfigError> {
    Ok(yes_or_no(env, "BOOKING_CLIENT_REFERENCE")?.unwrap_or(false))
}

fn outbox(env: &Env) -> Result<Outbox, ConfigError> {
    Ok(yes_or_no(env, "CHANGES")?.unwrap_or(false).into())
}

fn yes_or_no(env: &Env, name: &'static str) -> Result<Option<bool>, ConfigError> {
    env.parsed(name, "yes or no", |value| match value {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    })
}

fn application(env: &Env) -> Result<Option<String>, ConfigError> {
    const EXPECTED: &str = "the platform's own application, ca_...";
    env.parsed("STRIPE_APPLICATION", EXPECTED, |value| {
        let is_id = value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (value.starts_with("ca_") && is_id).then(|| value.to_owned())
    })
}

fn owner_query(env: &Env) -> Result<Option<String>, ConfigError> {
    const EXPECTED: &str = "one SELECT with $1 for the booking's id, giving its account's id";
    env.parsed("BOOKING_OWNER_QUERY", EXPECTED, |value| {
        let query = value.trim().trim_end_matches(';');
        (query.contains("$1") && !query.contains(';')).then(|| query.to_owned())
    })
}
