//! The configuration, read from environment variables.

use crate::signature::{EXPECTED_SECRETS, Secrets};
use event::Mode;
use shared::amqp::AmqpUrl;
use shared::config::{ConfigError, Env, Held};
use shared::topology::Names;
use std::net::SocketAddr;

const LISTEN: &str = "INGEST_LISTEN";
const ADMIN_LISTEN: &str = "INGEST_ADMIN_LISTEN";
const SECRETS: &str = "STRIPE_WEBHOOK_SECRETS";
const EXPECTED_ADDRESS: &str = "an IP address and a port such as 127.0.0.1:8080 or [::]:8080";

/// The checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address of the public listener (`INGEST_LISTEN`).
    pub listen: SocketAddr,
    /// Address of the admin listener (`INGEST_ADMIN_LISTEN`).
    pub admin_listen: SocketAddr,
    /// Signing secrets of the webhook endpoints (`STRIPE_WEBHOOK_SECRETS`).
    pub secrets: Secrets,
    /// The mode whose events are published (`STRIPE_MODE`).
    pub mode: Mode,
    /// Address of the broker (`AMQP_URL`).
    pub amqp: AmqpUrl,
    /// Names of exchanges and queues (`AMQP_PREFIX`).
    pub names: Names,
}

impl Config {
    /// Reads and checks all variables.
    ///
    /// # Errors
    /// Names the first variable that is missing or has an invalid value.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let listen = address(env, LISTEN, SocketAddr::from(([127, 0, 0, 1], 8080)))?;
        let admin_listen = admin_address(env)?;
        if listen == admin_listen && listen.port() != 0 {
            let held = Held::Value(admin_listen.to_string());
            let expected = "another address than INGEST_LISTEN";
            return Err(ConfigError::new(ADMIN_LISTEN, held, expected));
        }
        Ok(Self {
            listen,
            admin_listen,
            secrets: secrets(env)?,
            mode: shared::config::mode(env)?,
            amqp: AmqpUrl::from_env(env)?,
            names: Names::from_env(env)?,
        })
    }
}

/// Reads the address of the admin listener, the only variable that the health
/// check needs.
///
/// # Errors
/// `INGEST_ADMIN_LISTEN` is not an IP address and a port.
pub fn admin_address(env: &Env) -> Result<SocketAddr, ConfigError> {
    address(env, ADMIN_LISTEN, SocketAddr::from(([127, 0, 0, 1], 8081)))
}

fn address(env: &Env, name: &'static str, default: SocketAddr) -> Result<SocketAddr, ConfigError> {
    let given = env.parsed(name, EXPECTED_ADDRESS, |value| value.parse().ok())?;
    Ok(given.unwrap_or(default))
}

fn secrets(env: &Env) -> Result<Secrets, ConfigError> {
    let list = env.required(SECRETS, EXPECTED_SECRETS)?;
    Secrets::parse(list).map_err(|why| {
        let expected = format!("{EXPECTED_SECRETS}; {why}");
        ConfigError::new(SECRETS, Held::secret(list), expected)
    })
}
