//! Takes deliveries from the queue in sets and reads them, while the set before
//! is being settled.

use std::panic::{self, AssertUnwindSafe};

use futures_util::{Stream, StreamExt};
use lapin::{Consumer, message::Delivery};
use tokio::{sync::mpsc, task::AbortHandle};

use crate::{
    events::{Event, Rejected, Rules},
    origin::Origin,
    process::Item,
};

/// What reads an event from its bytes.
pub type Reader = fn(&[u8], &Rules) -> Result<Event, Rejected>;

/// How deliveries are read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// How events are read.
    pub rules: Rules,
    /// What reads them: [`read`](crate::events::read), or what a test wants to
    /// see break.
    pub reader: Reader,
}

/// The most deliveries in one unit. Above some hundred, a transaction's own
/// cost no longer shows.
pub const MAX_UNIT: usize = 500;
/// The bytes after which a unit takes no more: at 6 KB an event it is full long
/// before.
const MAX_UNIT_BYTES: usize = 16 * 1024 * 1024;
/// The most deliveries that are read and wait, two units of them. What the broker
/// may send beyond these and the unit at work stays as it came.
const READ_AHEAD: usize = 1_000;

/// A set of deliveries, read.
#[derive(Debug, Default)]
pub struct Gathered {
    /// The deliveries without their bodies, each with what it says.
    pub taken: Vec<(Delivery, Item)>,
    /// Deliveries whose reading panicked.
    pub crashed: Vec<Delivery>,
}

/// A delivery without its body, and what it says, if reading it did not panic.
type Read = (Delivery, Option<Item>);

/// Reads until dropped.
#[derive(Debug)]
pub struct Gathering {
    read: mpsc::Receiver<lapin::Result<Read>>,
    task: AbortHandle,
}

impl Drop for Gathering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gathering {
    /// Starts to read what comes.
    pub fn start(consumer: Consumer, reading: Reading) -> Self {
        let (ready, read) = mpsc::channel(READ_AHEAD);
        let task = tokio::spawn(read_all(consumer, reading, ready)).abort_handle();
        Self { read, task }
    }

    /// The next set, with what is there by now; `None` at the queue's end. Can be
    /// dropped while it waits: nothing is taken until it gives something back.
    pub async fn next(&mut self) -> Option<lapin::Result<Gathered>> {
        set(&mut self.read).await
    }
}

async fn set(reads: &mut mpsc::Receiver<lapin::Result<Read>>) -> Option<lapin::Result<Gathered>> {
    let (mut gathered, mut bytes) = (Gathered::default(), 0);
    let mut next = Some(reads.recv().await?);
    while let Some(read) = next {
        match read {
            Ok(read) => {
                bytes += read.1.as_ref().map_or(0, |item| item.body.len());
                gathered.add(read);
            }
            // The rest of the set comes again: it cannot be acked any more.
            Err(error) => return Some(Err(error)),
        }
        let full = gathered.taken.len() == MAX_UNIT || bytes >= MAX_UNIT_BYTES;
        next = (!full).then(|| reads.try_recv().ok()).flatten();
    }
    Some(Ok(gathered))
}

async fn read_all(
    mut consumer: impl Stream<Item = lapin::Result<Delivery>> + Unpin,
    reading: Reading,
    ready: mpsc::Sender<lapin::Result<Read>>,
) {
    while let Some(delivery) = consumer.next().await {
        let read = delivery.map(|mut delivery| {
            let item = reading.item(&mut delivery);
            (delivery, item)
        });
        if ready.send(read).await.is_err() {
            return;
        }
    }
}

impl Gathered {
    fn add(&mut self, (delivery, item): Read) {
        match item {
            Some(item) => self.taken.push((delivery, item)),
            None => self.crashed.push(delivery),
        }
    }
}

impl Reading {
    /// Reads one delivery and takes its body; `None` if that panicked.
    fn item(&self, delivery: &mut Delivery) -> Option<Item> {
        let read = AssertUnwindSafe(|| (self.reader)(&delivery.data, &self.rules));
        let read = panic::catch_unwind(read).ok()?;
        let origin = Origin::read(&delivery.properties);
        Some(Item {
            reading: read,
            received_at: origin.received_at,
            trace_id: origin.trace_id,
            ticket: origin.ticket,
            body: std::mem::take(&mut delivery.data),
        })
    }
}

#[cfg(test)]
mod tests;
