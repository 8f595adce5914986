//! Webhook deliveries of the stand-in's own.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Result, bail};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hyper::StatusCode;

use super::{events::QueuedEvent, handle::Shared, server::StandIn};
use crate::{
    http,
    stripe::{now, sign},
    wait::{self, STEP, Seen},
};

/// Pause before an event is sent again that `ingest` could not take.
const PAUSE: Duration = Duration::from_millis(50);
/// How often an event is sent before the stand-in gives up: for more than a minute,
/// in which a broker that restarts is back.
const MOST: u32 = 1200;
/// How many events are under way at once, where their order does not matter.
const AT_ONCE: usize = 16;

/// In which order events are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they were made, one after another.
    AsMade,
    /// In any order, each twice, some at once. The seed gives the order.
    ShuffledTwice(u64),
}

impl Order {
    fn apply(self, events: Vec<QueuedEvent>) -> Vec<QueuedEvent> {
        match self {
            Self::AsMade => events,
            Self::ShuffledTwice(seed) => {
                let mut twice: Vec<_> = events.iter().chain(&events).cloned().collect();
                fastrand::Rng::with_seed(seed).shuffle(&mut twice);
                twice
            }
        }
    }

    fn at_once(self) -> usize {
        match self {
            Self::AsMade => 1,
            Self::ShuffledTwice(_) => AT_ONCE,
        }
    }
}

impl StandIn {
    /// Signs all events that wait and posts them to `ingest`, until each was answered
    /// with a status of success. Gives what was sent.
    ///
    /// # Errors
    /// When `ingest` refuses an event, or cannot take one for a minute.
    pub async fn deliver(
        &self,
        ingest: &str,
        secret: &str,
        order: Order,
    ) -> Result<Vec<QueuedEvent>> {
        let events = order.apply(self.take_events());
        let endpoint = Endpoint::new(ingest, secret, |_, _| {});
        endpoint.deliver_all(&events, order).await?;
        Ok(events)
    }

    /// Delivers every event soon after it was made, from now on until the stand-in
    /// ends. An event that `ingest` does not take is sent again, as Stripe does.
    pub fn keep_delivering(&self, ingest: &str, secret: &str, order: Order) {
        self.keep_delivering_seen(ingest, secret, order, |_, _| {});
    }

    /// The same, and `seen` is told of each delivery with its answer, where one came.
    pub fn keep_delivering_seen(
        &self,
        ingest: &str,
        secret: &str,
        order: Order,
        seen: impl Fn(&QueuedEvent, Option<StatusCode>) + Send + Sync + 'static,
    ) {
        let endpoint = Endpoint::new(ingest, secret, seen);
        let shared = Arc::clone(&self.shared);
        self.spawn(async move {
            loop {
                let events = take(&shared);
                let sent = order.apply(events.clone());
                if endpoint.deliver_all(&sent, order).await.is_err() {
                    // Those that arrived come once more, which a receiver must bear.
                    shared.state().queued.splice(0..0, events);
                }
                shared.delivering.store(false, Ordering::Relaxed);
                tokio::time::sleep(STEP).await;
            }
        });
    }

    /// Waits until every event so far was delivered by
    /// [`keep_delivering`](Self::keep_delivering).
    ///
    /// # Errors
    /// When that takes longer than `bound`.
    pub async fn until_delivered(&self, bound: Duration) -> Result<()> {
        wait::until("all events to be delivered", bound, async || {
            let state = self.shared.state();
            match state.queued.len() {
                0 if !self.shared.delivering.load(Ordering::Relaxed) => Seen::Reached(()),
                count => Seen::NotYet(format!("{count} wait")),
            }
        })
        .await
    }
}

/// Takes the events that wait, and notes that they are under way.
fn take(shared: &Shared) -> Vec<QueuedEvent> {
    let mut state = shared.state();
    let events = std::mem::take(&mut state.queued);
    shared
        .delivering
        .store(!events.is_empty(), Ordering::Relaxed);
    events
}

/// Where events are delivered.
struct Endpoint<F> {
    ingest: String,
    secret: String,
    seen: F,
}

impl<F: Fn(&QueuedEvent, Option<StatusCode>) + Sync> Endpoint<F> {
    fn new(ingest: &str, secret: &str, seen: F) -> Self {
        Self {
            ingest: ingest.to_owned(),
            secret: secret.to_owned(),
            seen,
        }
    }

    async fn deliver_all(&self, events: &[QueuedEvent], order: Order) -> Result<()> {
        stream::iter(events.to_vec())
            .map(async |event| self.deliver(&event).await)
            .buffer_unordered(order.at_once())
            .try_collect()
            .await
    }

    async fn deliver(&self, event: &QueuedEvent) -> Result<()> {
        let body = event.bytes();
        let mut last = String::new();
        for _ in 0..MOST {
            let signature = sign(&self.secret, now(), &body);
            let answer = http::post_event(&self.ingest, &signature, body.clone()).await;
            (self.seen)(event, answer.as_ref().ok().map(|answer| answer.status));
            match answer {
                Ok(answer) if answer.status.is_success() => return Ok(()),
                Ok(answer) if answer.status != StatusCode::SERVICE_UNAVAILABLE => {
                    bail!("{} {}: {}", event.id, event.kind, answer.status);
                }
                Ok(answer) => last = answer.status.to_string(),
                Err(error) => last = format!("{error:#}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
        bail!("{} {}: not taken; last: {last}", event.id, event.kind)
    }
}
