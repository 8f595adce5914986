//! Decodes deliveries as they come from the queue, while the batch before is being
//! applied, and hands out what is there as one batch: the worker never waits for more.

use futures_util::{Stream, StreamExt};
use lapin::message::Delivery as Message;
use tokio::{sync::mpsc, task::AbortHandle};
use tokio_util::sync::CancellationToken;

use crate::pipeline::delivery::{Crashed, Decoder, Delivery};

/// The most deliveries in one batch. Above some hundred, a transaction's own cost no
/// longer shows.
pub const MAX_BATCH: usize = 500;
/// The bytes after which a batch takes no more: at 6 KB an event it is full long before.
const MAX_BATCH_BYTES: usize = 16 * 1024 * 1024;
/// Deliveries that are applied together.
#[derive(Debug, Default)]
pub struct Batch {
    /// The deliveries.
    pub deliveries: Vec<Delivery>,
    /// Messages whose decoding panicked.
    pub crashed: Vec<Crashed>,
}

/// A delivery, or the message whose decoding panicked.
type Decoded = Result<Delivery, Crashed>;

/// Decodes deliveries until it is dropped. As many wait decoded as the broker sends without
/// an ack, which the consumer bounds.
#[derive(Debug)]
pub struct BatchReader {
    decoded: mpsc::UnboundedReceiver<lapin::Result<Decoded>>,
    ended: CancellationToken,
    task: AbortHandle,
}

impl Drop for BatchReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl BatchReader {
    /// Starts to decode what comes.
    pub fn start(
        messages: impl Stream<Item = lapin::Result<Message>> + Unpin + Send + 'static,
        decoder: Decoder,
    ) -> Self {
        let (sender, decoded) = mpsc::unbounded_channel();
        let ended = CancellationToken::new();
        let at_end = ended.clone().drop_guard();
        let task = tokio::spawn(async move {
            decode_all(messages, decoder, sender).await;
            drop(at_end);
        });
        Self {
            decoded,
            ended,
            task: task.abort_handle(),
        }
    }

    /// Waits until no further delivery can come: the broker has cancelled the consumer, or the
    /// connection is lost. No ack of what came before reaches it then.
    pub fn ended(&self) -> impl Future<Output = ()> + use<> {
        self.ended.clone().cancelled_owned()
    }

    /// The next batch, of the deliveries that are there by now; `None` at the queue's end.
    /// The future can be dropped while it waits: no delivery is taken until it is ready.
    pub async fn next(&mut self) -> Option<lapin::Result<Batch>> {
        next_batch(&mut self.decoded).await
    }
}

async fn next_batch(
    decoded: &mut mpsc::UnboundedReceiver<lapin::Result<Decoded>>,
) -> Option<lapin::Result<Batch>> {
    let (mut batch, mut bytes) = (Batch::default(), 0);
    let mut next = Some(decoded.recv().await?);
    while let Some(one) = next {
        match one {
            Ok(Ok(delivery)) => {
                bytes += delivery.body.len();
                batch.deliveries.push(delivery);
            }
            Ok(Err(crashed)) => batch.crashed.push(crashed),
            // The rest of the batch comes again: it cannot be acked any more.
            Err(error) => return Some(Err(error)),
        }
        let is_full = batch.deliveries.len() == MAX_BATCH || bytes >= MAX_BATCH_BYTES;
        next = (!is_full).then(|| decoded.try_recv().ok()).flatten();
    }
    Some(Ok(batch))
}

async fn decode_all(
    mut messages: impl Stream<Item = lapin::Result<Message>> + Unpin,
    decoder: Decoder,
    sender: mpsc::UnboundedSender<lapin::Result<Decoded>>,
) {
    while let Some(message) = messages.next().await {
        let decoded = message.map(|message| decoder.delivery(message));
        let is_lost = decoded.is_err();
        if sender.send(decoded).is_err() || is_lost {
            return;
        }
        // A thousand messages can be there at once, and others have work to do as well.
        tokio::task::consume_budget().await;
    }
}

#[cfg(test)]
mod tests;
