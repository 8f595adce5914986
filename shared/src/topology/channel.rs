//! The channels of declarations and looks.

use super::TopologyError;
use lapin::{Channel, Connection};

/// Opens a channel of its own for each declaration, since a refusal closes it.
pub(super) async fn open(
    connection: &Connection,
    what: impl Fn() -> String,
) -> Result<Channel, TopologyError> {
    let opened = connection.create_channel().await;
    opened.map_err(|source| TopologyError::Broker {
        what: what(),
        source,
    })
}

/// Closes a channel.
pub(super) async fn close(channel: Channel) {
    // What was declared stays declared, however the channel ends.
    let _closed_already = channel.close(200, "done".into()).await;
}
