//! Looking whether exchanges and queues are there, without declaring them.

use super::channel::{close, open};
use super::{Names, Role, TopologyError};
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, ExchangeKind};

/// Sees that the exchanges and queues that a service of this role uses are there. Up to RabbitMQ
/// 4.2.5 that needs no right, later any right on each of them. Bindings cannot be
/// seen over AMQP.
///
/// # Errors
/// [`TopologyError::Absent`], [`TopologyError::Hidden`], or the broker went away.
pub async fn find(connection: &Connection, names: &Names, role: Role) -> Result<(), TopologyError> {
    let channel = open(connection, || "anything".into()).await?;
    let (exchanges, queues) = used(names, role);
    for name in exchanges {
        look_at_exchange(&channel, name).await?;
    }
    for name in queues {
        look_at_queue(&channel, name).await?;
    }
    close(channel).await;
    Ok(())
}

/// The exchanges and the queues that a role uses, and so has a right on.
fn used(names: &Names, role: Role) -> (Vec<&ShortString>, Vec<&ShortString>) {
    match role {
        Role::Publisher => (vec![&names.events], vec![&names.worker]),
        Role::Consumer => (
            vec![&names.dead_exchange, &names.events],
            vec![&names.dead_queue, &names.worker],
        ),
        Role::Commands => (
            vec![&names.commands],
            vec![&names.expired_commands, &names.commands],
        ),
        Role::Changes => (vec![&names.changes], vec![]),
    }
}

async fn look_at_exchange(channel: &Channel, name: &ShortString) -> Result<(), TopologyError> {
    let options = ExchangeDeclareOptions {
        passive: true,
        ..ExchangeDeclareOptions::default()
    };
    // Of which kind it is does not matter to a passive declaration.
    let (kind, table) = (ExchangeKind::Direct, FieldTable::default());
    let found = channel
        .exchange_declare(name.clone(), kind, options, table)
        .await;
    found.map_err(|error| TopologyError::of_looking(error, format!("exchange {name}")))
}

async fn look_at_queue(channel: &Channel, name: &ShortString) -> Result<(), TopologyError> {
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let found = channel
        .queue_declare(name.clone(), options, FieldTable::default())
        .await;
    let found = found.map(drop);
    found.map_err(|error| TopologyError::of_looking(error, format!("queue {name}")))
}
