//! Declaring the topology, one channel a declaration.

use super::channel::{close, open};
use super::{Names, Role, TopologyError, look};
use event::EventType;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Connection, ExchangeKind};
use std::time::Duration;

/// As good as no delivery limit, on every RabbitMQ: without the argument 4.x
/// would set 20 and then drop the dead letter, and `-1`, which means "no
/// limit" to 4.x, makes 3.10 drop a message when it is first returned. Which
/// of them it is, lapin does not tell. The broker counts a delivery for every
/// message in the hands of a worker that dies, so for the worker's queue too a
/// count says nothing of a message.
const NO_DELIVERY_LIMIT: i32 = i32::MAX;

/// The argument of a queue's delivery limit.
const DELIVERY_LIMIT: &str = "x-delivery-limit";

/// What is known of the topology after [`declare`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Declared {
    /// It is there, and as it is wanted, except that these queues were made with
    /// another delivery limit.
    Compared {
        /// The queues, with the limits that they have.
        other_limits: Vec<OtherLimit>,
    },
    /// What the role uses of it is there by name. The broker's user may not declare
    /// it, so nothing was compared.
    ByName,
}

/// A queue that was made with another delivery limit than is wanted, which no later
/// declaration changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherLimit {
    /// The queue.
    pub queue: ShortString,
    /// Its limit; `None` where it was made without one.
    pub limit: Option<i64>,
}

impl Declared {
    /// Warns of each queue that has another delivery limit.
    pub fn warn(&self) {
        let Self::Compared { other_limits } = self else {
            return;
        };
        for OtherLimit { queue, limit } in other_limits {
            let queue = queue.as_str();
            match limit {
                Some(limit) => tracing::warn!(
                    queue,
                    limit,
                    "this queue was made with a delivery limit: the broker gives up a message that \
                     was returned so often. To make it without one, stop ingest, let the worker \
                     empty the queue, stop the worker, delete the queue and start both"
                ),
                None => tracing::warn!(
                    queue,
                    "this queue was made without x-delivery-limit: that is fine on RabbitMQ 3, but \
                     RabbitMQ 4 gives up a message of it that was returned 20 times. To make it \
                     anew, stop ingest, let the worker empty the queue, stop the worker, delete \
                     the queue and start both"
                ),
            }
        }
    }
}

/// The most commands that wait; the broker refuses more.
const MOST_COMMANDS: i32 = 10_000;

/// The bytes of commands that wait at most, ten times those of as many usual ones: an app must
/// not fill the disk that events need.
const MOST_COMMAND_BYTES: i32 = 64 * 1024 * 1024;

/// How long a command waits at most, in seconds: whoever sent it has given up by then.
const COMMAND_SECONDS: u16 = 60;

/// The same as a time.
pub const COMMAND_TTL: Duration = Duration::from_secs(COMMAND_SECONDS as u64);

/// How long one that waited too long is kept for the worker to answer it, in milliseconds. It
/// may hold a host's mail address, and nobody waits for so long.
const EXPIRED_TTL: i32 = 600_000;

/// How often a command may come back. The worker answers one that came back five times; a
/// message that its client cannot read, such as one with a name that is no UTF-8, ends each
/// session before.
const COMMAND_DELIVERIES: i32 = 6;

/// How often one that waited too long may come back: all that it needs is an answer.
const EXPIRED_DELIVERIES: i32 = 2;

/// Declares the exchanges, queues and bindings of events and dead letters; those of commands
/// for [`Role::Commands`], the exchange of news for [`Role::Changes`]. Where the broker's user may not, it only sees that
/// those that the role uses are there.
///
/// # Errors
/// See [`TopologyError`]. What was declared before the error stays.
pub async fn declare(
    connection: &Connection,
    names: &Names,
    role: Role,
) -> Result<Declared, TopologyError> {
    let made = match role {
        Role::Publisher | Role::Consumer => make(connection, names).await,
        Role::Commands => make_commands(connection, names).await.map(|()| Vec::new()),
        Role::Changes => exchange(connection, &names.changes, ExchangeKind::Topic)
            .await
            .map(|()| Vec::new()),
    };
    match made {
        Err(error) if error.is_refusal() => {
            look::find(connection, names, role).await?;
            Ok(Declared::ByName)
        }
        made => made.map(|other_limits| Declared::Compared { other_limits }),
    }
}

async fn make(connection: &Connection, names: &Names) -> Result<Vec<OtherLimit>, TopologyError> {
    // The dead letters' end first: the worker's queue points at it.
    exchange(connection, &names.dead_exchange, ExchangeKind::Fanout).await?;
    let dead = vec![("x-queue-type", text("quorum"))];
    let dead = queue_of_any_limit(connection, &names.dead_queue, dead).await?;
    bind(connection, &names.dead_queue, &names.dead_exchange, &[""]).await?;
    exchange(connection, &names.events, ExchangeKind::Direct).await?;
    let worker = worker_arguments(names);
    let worker = queue_of_any_limit(connection, &names.worker, worker).await?;
    let handled: Vec<&str> = EventType::ALL.iter().map(|one| one.as_str()).collect();
    bind(connection, &names.worker, &names.events, &handled).await?;
    Ok(dead.into_iter().chain(worker).collect())
}

async fn make_commands(connection: &Connection, names: &Names) -> Result<(), TopologyError> {
    let bounded = |ttl, deliveries| {
        vec![
            ("x-queue-type", text("quorum")),
            ("x-overflow", text("reject-publish")),
            ("x-max-length", AMQPValue::LongInt(MOST_COMMANDS)),
            ("x-max-length-bytes", AMQPValue::LongInt(MOST_COMMAND_BYTES)),
            (DELIVERY_LIMIT, AMQPValue::LongInt(deliveries)),
            ("x-message-ttl", AMQPValue::LongInt(ttl)),
        ]
    };
    let arguments = bounded(EXPIRED_TTL, EXPIRED_DELIVERIES);
    queue(connection, &names.expired_commands, arguments).await?;
    exchange(connection, &names.commands, ExchangeKind::Topic).await?;
    let mut arguments = bounded(i32::from(COMMAND_SECONDS) * 1000, COMMAND_DELIVERIES);
    arguments.extend([
        ("x-dead-letter-exchange", text("")),
        (
            "x-dead-letter-routing-key",
            text(names.expired_commands.as_str()),
        ),
        ("x-dead-letter-strategy", text("at-least-once")),
    ]);
    queue(connection, &names.commands, arguments).await?;
    // A name that is no command's gets an answer that says so.
    bind(connection, &names.commands, &names.commands, &["#"]).await
}

fn worker_arguments(names: &Names) -> Arguments {
    vec![
        ("x-queue-type", text("quorum")),
        ("x-dead-letter-exchange", text(names.dead_exchange.as_str())),
        // Dead letters are lost on a crash without these two.
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ]
}

/// Declares a queue without a delivery limit. One that exists and differs in its
/// limit alone is taken as it is, and told: to delete it would lose its messages.
async fn queue_of_any_limit(
    connection: &Connection,
    name: &ShortString,
    arguments: Arguments,
) -> Result<Option<OtherLimit>, TopologyError> {
    let with = |limit| {
        let mut arguments = arguments.clone();
        arguments.push((DELIVERY_LIMIT, limit));
        arguments
    };
    let unlimited = with(AMQPValue::LongInt(NO_DELIVERY_LIMIT));
    let Err(error) = queue(connection, name, unlimited).await else {
        return Ok(None);
    };
    let limit = match &error {
        TopologyError::Mismatch { reply, .. } => existing_limit(reply),
        _ => None,
    };
    let Some(limit) = limit else {
        return Err(error);
    };
    let as_it_is = limit.map_or_else(|| arguments.clone(), |it| with(AMQPValue::LongLongInt(it)));
    queue(connection, name, as_it_is).await?;
    let queue = name.clone();
    Ok(Some(OtherLimit { queue, limit }))
}

/// The delivery limit of an existing queue, `Some(None)` for none, where the broker
/// minds that it is another one.
fn existing_limit(reply: &str) -> Option<Option<i64>> {
    let (_, told) = reply.split_once(&format!("inequivalent arg '{DELIVERY_LIMIT}'"))?;
    let (_, current) = told.split_once("but current is ")?;
    if current.starts_with("none") {
        return Some(None);
    }
    current.split('\'').nth(1)?.parse().ok().map(Some)
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
    declared.map_err(|error| TopologyError::of_declaring(error, what(), wanted))?;
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
    declared.map_err(|error| TopologyError::of_declaring(error, what(), wanted))?;
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
        let wanted = || format!("routing key {key}");
        bound.map_err(|error| TopologyError::of_declaring(error, what(), wanted()))?;
    }
    close(channel).await;
    Ok(())
}

fn shown(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(text) => text.to_string(),
        AMQPValue::LongInt(number) => number.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::existing_limit;

    #[test]
    fn the_limit_of_an_existing_queue_is_read_from_the_brokers_words() {
        let reply = |argument: &str, current: &str| {
            format!(
                "PRECONDITION_FAILED - inequivalent arg '{argument}' for queue 'q' in vhost '/': \
                 received '2147483647' but current is {current}"
            )
        };
        let limit = |current| existing_limit(&reply("x-delivery-limit", current));
        assert_eq!(limit("none"), Some(None));
        assert_eq!(limit("'20'"), Some(Some(20)));
        // As the broker says it where the types differ too.
        assert_eq!(limit("the value '20' of type 'long'"), Some(Some(20)));
        assert_eq!(limit("something else"), None);
        assert_eq!(existing_limit(&reply("x-overflow", "none")), None);
        assert_eq!(existing_limit("PRECONDITION_FAILED"), None);
    }
}
