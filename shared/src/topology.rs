//! The exchanges and queues that both services declare.
//!
//! `stripe.events` (topic) -> `stripe.events.worker` -> (dead letters)
//! `stripe.dead` (fanout) -> `stripe.dead`. Declaring is idempotent. Bindings
//! of types that an older release handled cannot be listed over AMQP and
//! stay; the worker ignores what they bring.

use crate::config::{ConfigError, Env, Held};
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ErrorKind, ExchangeKind};

/// How often the broker delivers a message before it takes it for a poison
/// message and dead-letters it. Crashes only: the worker settles everything
/// else itself.
const DELIVERY_LIMIT: i32 = 20;

/// No delivery limit. RabbitMQ 4 understands it and would set 20 without it;
/// RabbitMQ 3 refuses it and has no limit anyway.
const NO_DELIVERY_LIMIT: i32 = -1;

/// The longest prefix, in bytes: with the names behind it, it must fit into
/// the 255 of an AMQP name.
const MAX_PREFIX: usize = 200;

/// Event types that the worker handles: these are bound to its queue. Kept
/// sorted.
pub const HANDLED_TYPES: &[&str] = &[
    "account.application.authorized",
    "account.application.deauthorized",
    "account.updated",
    "checkout.session.async_payment_failed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.completed",
    "checkout.session.expired",
    "invoice.created",
    "invoice.deleted",
    "invoice.finalized",
    "invoice.marked_uncollectible",
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.payment_succeeded",
    "invoice.sent",
    "invoice.updated",
    "invoice.voided",
];

/// Whether the worker handles events of this type.
#[must_use]
pub fn is_handled(event_type: &str) -> bool {
    HANDLED_TYPES.binary_search(&event_type).is_ok()
}

/// The names of this deployment's exchanges and queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The topic exchange that events are published to.
    pub events: ShortString,
    /// The worker's queue.
    pub worker: ShortString,
    /// The fanout exchange of dead letters.
    pub dead_exchange: ShortString,
    /// The queue of dead letters.
    pub dead_queue: ShortString,
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
            worker: name("stripe.events.worker"),
            dead_exchange: name("stripe.dead"),
            dead_queue: name("stripe.dead"),
        })
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

/// Why the topology could not be declared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// Something of that name exists and is different. Waiting does not help.
    #[error(
        "{what} exists on the broker and differs from what is wanted ({wanted}): {reply}; \
         drain and delete it, or choose another AMQP_PREFIX, and start again"
    )]
    Mismatch {
        /// The exchange or queue, by kind and name.
        what: String,
        /// How it is declared here.
        wanted: String,
        /// The broker's own words, which say what exists.
        reply: String,
    },
    /// The broker went away, or refused for another reason.
    #[error("cannot declare {what}")]
    Broker {
        /// The exchange, queue or binding, by kind and name.
        what: String,
        /// What went wrong.
        source: lapin::Error,
    },
}

impl TopologyError {
    /// Whether only a person can resolve this.
    #[must_use]
    pub fn is_mismatch(&self) -> bool {
        matches!(self, Self::Mismatch { .. })
    }
}

/// Declares all exchanges, queues and bindings.
///
/// # Errors
/// See [`TopologyError`]. What was declared before the error stays.
pub async fn declare(connection: &Connection, names: &Names) -> Result<(), TopologyError> {
    // The dead letters' end first: the worker's queue points at it.
    exchange(connection, &names.dead_exchange, ExchangeKind::Fanout).await?;
    dead_queue(connection, &names.dead_queue).await?;
    bind(connection, &names.dead_queue, &names.dead_exchange, &[""]).await?;
    exchange(connection, &names.events, ExchangeKind::Topic).await?;
    queue(connection, &names.worker, worker_arguments(names)).await?;
    bind(connection, &names.worker, &names.events, HANDLED_TYPES).await
}

fn worker_arguments(names: &Names) -> Arguments {
    vec![
        ("x-queue-type", text("quorum")),
        ("x-dead-letter-exchange", text(names.dead_exchange.as_str())),
        // Dead letters are lost on a crash without these two.
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
        ("x-delivery-limit", AMQPValue::LongInt(DELIVERY_LIMIT)),
    ]
}

async fn dead_queue(connection: &Connection, name: &ShortString) -> Result<(), TopologyError> {
    let quorum = vec![("x-queue-type", text("quorum"))];
    let mut unlimited = quorum.clone();
    unlimited.push(("x-delivery-limit", AMQPValue::LongInt(NO_DELIVERY_LIMIT)));
    match queue(connection, name, unlimited).await {
        // lapin does not tell the server's version, so its answer decides:
        // RabbitMQ 3 refuses a negative limit as such.
        Err(TopologyError::Mismatch { reply, .. }) if reply.contains("invalid arg") => {
            queue(connection, name, quorum).await
        }
        result => result,
    }
}

type Arguments = Vec<(&'static str, AMQPValue)>;

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

async fn exchange(
    connection: &Connection,
    name: &ShortString,
    kind: ExchangeKind,
) -> Result<(), TopologyError> {
    let what = || format!("exchange {name}");
    let wanted = format!("a durable {kind:?} exchange").to_lowercase();
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let channel = open(connection, what).await?;
    let declared = channel
        .exchange_declare(name.clone(), kind, options, FieldTable::default())
        .await;
    declared.map_err(|error| refused(error, what(), wanted))?;
    close(channel).await;
    Ok(())
}

async fn queue(
    connection: &Connection,
    name: &ShortString,
    arguments: Arguments,
) -> Result<(), TopologyError> {
    let what = || format!("queue {name}");
    let mut wanted = String::from("a durable queue");
    let mut table = FieldTable::default();
    for (key, value) in arguments {
        wanted = format!("{wanted}, {key}={}", shown(&value));
        table.insert(key.into(), value);
    }
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let channel = open(connection, what).await?;
    let declared = channel.queue_declare(name.clone(), options, table).await;
    declared.map_err(|error| refused(error, what(), wanted))?;
    close(channel).await;
    Ok(())
}

async fn bind(
    connection: &Connection,
    queue: &ShortString,
    exchange: &ShortString,
    keys: &[&str],
) -> Result<(), TopologyError> {
    let what = || format!("binding of queue {queue} to exchange {exchange}");
    let channel = open(connection, what).await?;
    for key in keys {
        let (queue, exchange) = (queue.clone(), exchange.clone());
        let options = QueueBindOptions::default();
        let bound = channel
            .queue_bind(
                queue,
                exchange,
                (*key).into(),
                options,
                FieldTable::default(),
            )
            .await;
        bound.map_err(|error| refused(error, what(), format!("routing key {key}")))?;
    }
    close(channel).await;
    Ok(())
}

/// Opens a channel of its own for each declaration, since a refusal closes it.
async fn open(
    connection: &Connection,
    what: impl Fn() -> String,
) -> Result<Channel, TopologyError> {
    let opened = connection.create_channel().await;
    opened.map_err(|source| TopologyError::Broker {
        what: what(),
        source,
    })
}

async fn close(channel: Channel) {
    // What was declared stays declared, however the channel ends.
    let _closed_already = channel.close(200, "done".into()).await;
}

fn refused(source: lapin::Error, what: String, wanted: String) -> TopologyError {
    const PRECONDITION_FAILED: u16 = 406;
    match source.kind() {
        ErrorKind::ProtocolError(error) if error.get_id() == PRECONDITION_FAILED => {
            TopologyError::Mismatch {
                what,
                wanted,
                reply: error.get_message().to_string(),
            }
        }
        _ => TopologyError::Broker { what, source },
    }
}

fn shown(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(text) => text.to_string(),
        AMQPValue::LongInt(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{HANDLED_TYPES, Names, is_handled};

    #[test]
    fn handled_types_are_sorted_and_found() {
        assert!(HANDLED_TYPES.is_sorted());
        assert!(
            HANDLED_TYPES
                .iter()
                .all(|event_type| is_handled(event_type))
        );
        assert!(!is_handled("invoice.upcoming") && !is_handled(""));
    }

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
