//! The exchanges and queues that both services declare.
//!
//! `stripe.events` (direct) -> `stripe.events.worker` -> (dead letters)
//! `stripe.dead` (fanout) -> `stripe.dead`. The main app's commands:
//! `stripe.commands` (topic) -> `stripe.commands` -> (those that waited too long)
//! `stripe.commands.expired`. News for the main app: `dialoom.changes` (topic), to which the
//! main app binds queues of its own. Declaring is idempotent. Bindings
//! of types that an older release handled cannot be listed over AMQP and
//! stay; the worker ignores what they bring.

mod channel;
mod declare;
mod error;
mod look;

pub use declare::{COMMAND_TTL, Declared, OtherLimit, declare};
pub use error::TopologyError;
pub use look::find;

use crate::config::{ConfigError, Env, Held};
use lapin::types::ShortString;

/// The longest prefix, in bytes: with the names behind it, it must fit into
/// the 255 of an AMQP name.
const MAX_PREFIX: usize = 200;

const WORKER: &str = "stripe.events.worker";
const DEAD: &str = "stripe.dead";
const COMMANDS: &str = "stripe.commands";
const EXPIRED_COMMANDS: &str = "stripe.commands.expired";

/// The names of this deployment's exchanges and queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The direct exchange that events are published to.
    pub events: ShortString,
    /// The worker's queue.
    pub worker: ShortString,
    /// The fanout exchange of dead letters.
    pub dead_exchange: ShortString,
    /// The queue of dead letters.
    pub dead_queue: ShortString,
    /// The topic exchange and the queue of the main app's commands.
    pub commands: ShortString,
    /// The queue of commands that waited too long.
    pub expired_commands: ShortString,
    /// The topic exchange of news for the main app.
    pub changes: ShortString,
}

/// How a service uses the topology. One that may not declare it looks only at what
/// it uses, since it need not have a right on anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It publishes events for the worker's queue.
    Publisher,
    /// It consumes events and dead letters.
    Consumer,
    /// It consumes the main app's commands.
    Commands,
    /// It publishes news for the main app.
    Changes,
}

impl Names {
    /// The names behind `prefix`, which is put before each as it stands. An
    /// empty prefix is fine.
    ///
    /// # Errors
    /// The prefix is longer than 200 bytes, starts with `amq.` (the broker's
    /// own) or holds other characters than letters, digits, `.`, `_`, `-`
    /// and `:`.
    pub fn new(prefix: &str) -> Result<Self, PrefixError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte);
        if prefix.len() > MAX_PREFIX || prefix.starts_with("amq.") || !prefix.bytes().all(plain) {
            return Err(PrefixError);
        }
        let name = |name: &str| ShortString::from(format!("{prefix}{name}"));
        Ok(Self {
            events: name("stripe.events"),
            worker: name(WORKER),
            dead_exchange: name(DEAD),
            dead_queue: name(DEAD),
            commands: name(COMMANDS),
            expired_commands: name(EXPIRED_COMMANDS),
            changes: name("dialoom.changes"),
        })
    }

    /// Whether a name is that of a queue of this or another deployment, whatever its prefix.
    #[must_use]
    pub fn is_ours(name: &str) -> bool {
        [WORKER, DEAD, COMMANDS, EXPIRED_COMMANDS]
            .iter()
            .any(|ours| name.ends_with(ours))
    }

    /// Reads `AMQP_PREFIX`; none is an empty one.
    ///
    /// # Errors
    /// As [`Names::new`].
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        const NAME: &str = "AMQP_PREFIX";
        let prefix = env.optional(NAME)?.unwrap_or_default();
        Self::new(prefix)
            .map_err(|error| ConfigError::new(NAME, Held::value(prefix), error.to_string()))
    }
}

/// A prefix that cannot be put before a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "at most {MAX_PREFIX} letters, digits, dots, underscores, hyphens or colons, not starting with amq."
)]
pub struct PrefixError;

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn a_prefix_is_put_before_every_name() {
        let names = Names::new("t1.").unwrap();
        assert_eq!(names.events.as_str(), "t1.stripe.events");
        assert_eq!(names.worker.as_str(), "t1.stripe.events.worker");
        assert_eq!(names.dead_queue.as_str(), "t1.stripe.dead");
        assert_eq!(Names::new("").unwrap().events.as_str(), "stripe.events");
        let long = "a".repeat(201);
        for wrong in ["amq.", "a b", "ä", "a*", "a#", "\n", &long] {
            assert!(Names::new(wrong).is_err(), "{wrong:?}");
        }
    }
}
