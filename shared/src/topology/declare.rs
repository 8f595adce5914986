//! Declaring the topology, one channel a declaration.

use super::Names;
use event::EventType;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ErrorKind, ExchangeKind};

/// How often the broker delivers a message before it takes it for a poison
/// message and dead-letters it. Crashes only: the worker settles everything
/// else itself.
const DELIVERY_LIMIT: i32 = 20;

/// As good as no delivery limit, on every RabbitMQ: without the argument 4.x
/// would set 20 and then drop the dead letter, and `-1`, which means "no
/// limit" to 4.x, makes 3.10 drop a message when it is first returned. Which
/// of them it is, lapin does not tell.
const NO_DELIVERY_LIMIT: i32 = i32::MAX;

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
    /// It is not there, and this user may not make it. Whoever may has to come
    /// first.
    #[error("{what} is not there yet, and this broker user may not declare it")]
    Absent {
        /// The exchange or queue, by kind and name.
        what: String,
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

/// The broker's reply codes that mean something here.
mod reply {
    pub(super) const ACCESS_REFUSED: u16 = 403;
    pub(super) const NOT_FOUND: u16 = 404;
    pub(super) const PRECONDITION_FAILED: u16 = 406;
}

/// What is known of the topology after [`declare`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declared {
    /// It is there, and as it is wanted.
    AsWanted,
    /// All of it is there by name. The broker's user may not declare it, so
    /// nothing was compared.
    ByName,
}

impl TopologyError {
    /// Whether only a person can resolve this.
    #[must_use]
    pub fn is_mismatch(&self) -> bool {
        matches!(self, Self::Mismatch { .. })
    }
}

/// Declares all exchanges, queues and bindings. Where the broker's user may not,
/// it only sees that they are there: that is as much as `ingest` needs.
///
/// # Errors
/// See [`TopologyError`]. What was declared before the error stays.
pub async fn declare(connection: &Connection, names: &Names) -> Result<Declared, TopologyError> {
    match make(connection, names).await {
        Err(TopologyError::Broker { source, .. }) if is(&source, reply::ACCESS_REFUSED) => {
            find(connection, names).await?;
            Ok(Declared::ByName)
        }
        made => made.map(|()| Declared::AsWanted),
    }
}

async fn make(connection: &Connection, names: &Names) -> Result<(), TopologyError> {
    // The dead letters' end first: the worker's queue points at it.
    exchange(connection, &names.dead_exchange, ExchangeKind::Fanout).await?;
    dead_queue(connection, &names.dead_queue).await?;
    bind(connection, &names.dead_queue, &names.dead_exchange, &[""]).await?;
    exchange(connection, &names.events, ExchangeKind::Topic).await?;
    queue(connection, &names.worker, worker_arguments(names)).await?;
    let handled: Vec<&str> = EventType::ALL.iter().map(|one| one.as_str()).collect();
    bind(connection, &names.worker, &names.events, &handled).await
}

/// Sees that all exchanges and queues are there, which needs no right. Bindings
/// cannot be seen over AMQP.
///
/// # Errors
/// [`TopologyError::Absent`], or the broker went away.
pub async fn find(connection: &Connection, names: &Names) -> Result<(), TopologyError> {
    let channel = open(connection, || "anything".into()).await?;
    for name in [&names.dead_exchange, &names.events] {
        let options = ExchangeDeclareOptions {
            passive: true,
            ..ExchangeDeclareOptions::default()
        };
        // Of which kind it is does not matter to a passive declaration.
        let (kind, table) = (ExchangeKind::Topic, FieldTable::default());
        let found = channel
            .exchange_declare(name.clone(), kind, options, table)
            .await;
        found.map_err(|error| absent(error, format!("exchange {name}")))?;
    }
    for name in [&names.dead_queue, &names.worker] {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let found = channel
            .queue_declare(name.clone(), options, FieldTable::default())
            .await;
        found.map_err(|error| absent(error, format!("queue {name}")))?;
    }
    close(channel).await;
    Ok(())
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
    let plain = vec![("x-queue-type", text("quorum"))];
    let mut unlimited = plain.clone();
    unlimited.push(("x-delivery-limit", AMQPValue::LongInt(NO_DELIVERY_LIMIT)));
    match queue(connection, name, unlimited).await {
        Err(TopologyError::Mismatch { reply, .. }) if has_no_limit(&reply) => {
            tracing::warn!(
                queue = name.as_str(),
                "this queue was made without x-delivery-limit: that is fine on RabbitMQ 3, but \
                 RabbitMQ 4 drops a message of it that was returned 20 times"
            );
            queue(connection, name, plain).await
        }
        result => result,
    }
}

/// Whether the broker only minds that an existing queue has no delivery limit.
fn has_no_limit(reply: &str) -> bool {
    reply.contains("x-delivery-limit") && reply.contains("current is none")
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
    match source.kind() {
        ErrorKind::ProtocolError(error) if error.get_id() == reply::PRECONDITION_FAILED => {
            TopologyError::Mismatch {
                what,
                wanted,
                reply: error.get_message().to_string(),
            }
        }
        _ => TopologyError::Broker { what, source },
    }
}

fn absent(source: lapin::Error, what: String) -> TopologyError {
    if is(&source, reply::NOT_FOUND) {
        TopologyError::Absent { what }
    } else {
        TopologyError::Broker { what, source }
    }
}

/// Whether the broker refused with this code.
fn is(error: &lapin::Error, code: u16) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if error.get_id() == code)
}

fn shown(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(text) => text.to_string(),
        AMQPValue::LongInt(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}
