//! The channels of one connection, each for one message at a time.

use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};
use std::sync::{Mutex, PoisonError};
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

/// Opens channels as they are needed and keeps those that are idle.
pub(super) struct Pool {
    /// Channels with nothing in flight, the last used on top. Held only to
    /// push or pop.
    idle: Mutex<Vec<Channel>>,
    /// One permit for each channel that may be in use.
    slots: Semaphore,
}

/// A channel with nothing in flight, to be used for one message. Unless it is
/// [given back](Pool::give_back), it closes when dropped, and with it goes
/// whatever the broker would still have said on it.
pub(super) struct Lease<'a> {
    pub(super) channel: Channel,
    _slot: SemaphorePermit<'a>,
}

/// Why there is no channel.
#[derive(Debug, thiserror::Error)]
pub(super) enum LeaseError {
    #[error("cannot open a channel")]
    Open(#[from] lapin::Error),
    /// Never: nobody closes the semaphore.
    #[error("the channels are closed")]
    Closed(#[from] AcquireError),
}

impl Pool {
    pub(super) fn new(channels: usize) -> Self {
        Self {
            idle: Mutex::default(),
            slots: Semaphore::new(channels),
        }
    }

    /// Waits for a channel.
    pub(super) async fn lease(&self, connection: &Connection) -> Result<Lease<'_>, LeaseError> {
        let slot = self.slots.acquire().await?;
        let channel = match self.pop_open() {
            Some(channel) => channel,
            None => open(connection).await?,
        };
        Ok(Lease {
            channel,
            _slot: slot,
        })
    }

    /// Takes a channel back after a clean answer to its one message.
    pub(super) fn give_back(&self, lease: Lease<'_>) {
        self.idle().push(lease.channel);
    }

    /// An idle channel that the broker has not closed meanwhile.
    fn pop_open(&self) -> Option<Channel> {
        let mut idle = self.idle();
        while let Some(channel) = idle.pop() {
            if channel.status().connected() {
                return Some(channel);
            }
        }
        None
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Channel>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn open(connection: &Connection) -> lapin::Result<Channel> {
    let channel = connection.create_channel().await?;
    let options = ConfirmSelectOptions::default();
    channel.confirm_select(options).await?;
    Ok(channel)
}
