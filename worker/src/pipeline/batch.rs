//! Decodes deliveries as they come from the queue, while the batch before is being
//! applied, and hands out what is there as one batch: the worker never waits for more.
//!
//! Deliveries that may be what their workers died of are handed out undecoded, behind the batch
//! before them, and nothing is decoded while they are handled.

use std::collections::VecDeque;

use futures_util::{FutureExt, Stream, StreamExt};
use lapin::message::Delivery as Message;
use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
};
use tokio_util::sync::CancellationToken;

use crate::pipeline::delivery::{Crashed, Decoder, Delivery, is_suspect};

/// The most deliveries in one batch. Above some hundred, a transaction's own cost no
/// longer shows.
pub const MAX_BATCH: usize = 500;
/// The bytes after which a batch takes no more: at 6 KB an event it is full long before.
const MAX_BATCH_BYTES: usize = 16 * 1024 * 1024;
/// The most suspects that are handed out together: few enough to be handled one by one within
/// seconds where one of them kills, and enough that a transaction's own cost does not show.
pub const MAX_TOGETHER: usize = 100;

/// Deliveries that are applied together.
#[derive(Debug, Default)]
pub struct Batch {
    /// The deliveries.
    pub deliveries: Vec<Delivery>,
    /// Messages whose decoding panicked.
    pub crashed: Vec<Crashed>,
    /// The messages that come after all of them, and are to be handled apart.
    pub suspects: Option<Suspects>,
}

/// Messages of which one may be what its workers died of. Those behind them are decoded when
/// this is dropped.
#[derive(Debug)]
pub struct Suspects {
    /// The messages, in the order in which they came.
    pub messages: Vec<Message>,
    _handled: oneshot::Sender<()>,
}

/// What was read of the queue.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are deliveries")]
enum Read {
    /// A delivery.
    Delivery(Delivery),
    /// A message whose decoding panicked.
    Crashed(Crashed),
    /// Messages that were not decoded.
    Suspects(Suspects),
}

impl From<Result<Delivery, Crashed>> for Read {
    fn from(decoded: Result<Delivery, Crashed>) -> Self {
        decoded.map_or_else(Self::Crashed, Self::Delivery)
    }
}

/// Decodes deliveries until it is dropped. As many wait decoded as the broker sends without
/// an ack, which the consumer bounds.
#[derive(Debug)]
pub struct BatchReader {
    decoded: mpsc::UnboundedReceiver<lapin::Result<Read>>,
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
    decoded: &mut mpsc::UnboundedReceiver<lapin::Result<Read>>,
) -> Option<lapin::Result<Batch>> {
    let (mut batch, mut bytes) = (Batch::default(), 0);
    let mut next = Some(decoded.recv().await?);
    while let Some(one) = next {
        match one {
            Ok(Read::Delivery(delivery)) => {
                bytes += delivery.body.len();
                batch.deliveries.push(delivery);
            }
            Ok(Read::Crashed(crashed)) => batch.crashed.push(crashed),
            Ok(Read::Suspects(suspects)) => {
                batch.suspects = Some(suspects);
                break;
            }
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
    sender: mpsc::UnboundedSender<lapin::Result<Read>>,
) {
    let mut ahead = VecDeque::new();
    loop {
        let next = match ahead.pop_front() {
            Some(message) => Some(Ok(message)),
            None => messages.next().await,
        };
        let sent = match next {
            Some(Ok(message)) if is_suspect(&message) => {
                let (suspects, end) = gather(message, &mut messages, &mut ahead);
                let (_handled, until_handled) = oneshot::channel();
                let sent = sender.send(Ok(Read::Suspects(Suspects {
                    messages: suspects,
                    _handled,
                })));
                let handled = match end {
                    Some(end) => Err(end),
                    None => take_ahead(&mut messages, until_handled, &mut ahead).await,
                };
                match handled {
                    Ok(()) => sent,
                    Err(Some(error)) => return drop(sender.send(Err(error))),
                    Err(None) => return,
                }
            }
            Some(Ok(message)) => sender.send(Ok(decoder.delivery(message).into())),
            Some(Err(error)) => return drop(sender.send(Err(error))),
            None => return,
        };
        if sent.is_err() {
            return;
        }
        // A thousand messages can be there at once, and others have work to do as well.
        tokio::task::consume_budget().await;
    }
}

/// The suspects that are there by now, from the first one on, and how the messages ended where
/// their end is there as well.
fn gather(
    first: Message,
    messages: &mut (impl Stream<Item = lapin::Result<Message>> + Unpin),
    ahead: &mut VecDeque<Message>,
) -> (Vec<Message>, Option<Option<lapin::Error>>) {
    let mut bytes = first.data.len();
    let mut suspects = vec![first];
    while suspects.len() < MAX_TOGETHER && bytes < MAX_BATCH_BYTES {
        let next = match ahead.pop_front() {
            Some(message) => Some(Some(Ok(message))),
            None => messages.next().now_or_never(),
        };
        match next {
            Some(Some(Ok(message))) if is_suspect(&message) => {
                bytes += message.data.len();
                suspects.push(message);
            }
            Some(Some(Ok(message))) => {
                ahead.push_front(message);
                break;
            }
            Some(Some(Err(error))) => return (suspects, Some(Some(error))),
            Some(None) => return (suspects, Some(None)),
            None => break,
        }
    }
    (suspects, None)
}

/// Takes what comes, undecoded, until the messages before it are handled: the end of the
/// messages has to be seen meanwhile.
///
/// # Errors
/// The messages end, with the broker's error where there is one.
async fn take_ahead(
    messages: &mut (impl Stream<Item = lapin::Result<Message>> + Unpin),
    mut until_handled: oneshot::Receiver<()>,
    ahead: &mut VecDeque<Message>,
) -> Result<(), Option<lapin::Error>> {
    loop {
        tokio::select! {
            biased;
            _dropped = &mut until_handled => return Ok(()),
            next = messages.next() => match next {
                Some(Ok(message)) => ahead.push_back(message),
                Some(Err(error)) => return Err(Some(error)),
                None => return Err(None),
            },
        }
    }
}

#[cfg(test)]
mod tests;
