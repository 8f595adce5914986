//! Takes deliveries from the queue in sets and reads them, while the set before
//! is being settled.

use std::panic::{self, AssertUnwindSafe};

use chrono::DateTime;
use futures_util::{FutureExt, StreamExt};
use lapin::{Consumer, message::Delivery};
use shared::message::Meta;
use tokio::{sync::mpsc, task::AbortHandle};

use crate::{
    events::{Event, Rejected, Rules},
    process::Item,
    ticket,
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

/// A set of deliveries, read.
#[derive(Debug, Default)]
pub struct Gathered {
    /// The deliveries without their bodies, each with what it says.
    pub taken: Vec<(Delivery, Item)>,
    /// Deliveries whose reading panicked.
    pub crashed: Vec<Delivery>,
}

/// Gathers until dropped.
#[derive(Debug)]
pub struct Gathering {
    units: mpsc::Receiver<lapin::Result<Gathered>>,
    task: AbortHandle,
}

impl Drop for Gathering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gathering {
    /// Starts to gather. One set waits ready while another is settled.
    pub fn start(consumer: Consumer, reading: Reading) -> Self {
        let (ready, units) = mpsc::channel(1);
        let task = tokio::spawn(gather(consumer, reading, ready)).abort_handle();
        Self { units, task }
    }

    /// The next set, with what is there by now; `None` at the queue's end.
    pub async fn next(&mut self) -> Option<lapin::Result<Gathered>> {
        self.units.recv().await
    }
}

async fn gather(
    mut consumer: Consumer,
    reading: Reading,
    ready: mpsc::Sender<lapin::Result<Gathered>>,
) {
    // Deliveries are taken as late as there is room for them, so that a set is
    // as large as it can be without waiting.
    while let Ok(room) = ready.reserve().await {
        let Some(first) = consumer.next().await else {
            return;
        };
        let gathered = first.map(|first| {
            let mut gathered = Gathered::default();
            gathered.take(first, &reading);
            // An error or an end comes again with the next set.
            while gathered.taken.len() < MAX_UNIT
                && let Some(Some(Ok(delivery))) = consumer.next().now_or_never()
            {
                gathered.take(delivery, &reading);
            }
            gathered
        });
        room.send(gathered);
    }
}

impl Gathered {
    fn take(&mut self, mut delivery: Delivery, reading: &Reading) {
        match reading.item(&mut delivery) {
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
        let meta = Meta::read(&delivery.properties);
        let received = meta.received_at_millis;
        Some(Item {
            reading: read,
            received_at: received.and_then(DateTime::from_timestamp_millis),
            trace_id: meta.traceparent.as_deref().and_then(trace_id),
            ticket: ticket::read(&delivery.properties),
            body: std::mem::take(&mut delivery.data),
        })
    }
}

/// The trace id of a W3C `traceparent`.
fn trace_id(traceparent: &str) -> Option<String> {
    traceparent.split('-').nth(1).map(str::to_owned)
}
