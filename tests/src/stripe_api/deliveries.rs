//! Webhook deliveries of the stand-in's own.

use std::time::Duration;

use anyhow::{Result, bail};
use hyper::StatusCode;

use super::{events::QueuedEvent, server::StandIn};
use crate::{
    http,
    stripe::{now, sign},
};

/// Pause before an event is sent again that `ingest` could not take.
const PAUSE: Duration = Duration::from_millis(50);
/// How often an event is sent before the stand-in gives up: a broker that restarts
/// is back in that time.
const MOST: u32 = 1200;

/// In which order events are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they were made.
    AsMade,
    /// In any order, each twice. The seed gives the order.
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
}

impl StandIn {
    /// Signs all events that wait and posts them to `ingest`, one after another,
    /// until each was answered with a status of success. Gives what was sent.
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
        for event in &events {
            deliver(ingest, secret, event).await?;
        }
        Ok(events)
    }
}

async fn deliver(ingest: &str, secret: &str, event: &QueuedEvent) -> Result<()> {
    let body = event.bytes();
    let mut last = String::new();
    for _ in 0..MOST {
        let signature = sign(secret, now(), &body);
        match http::post_event(ingest, &signature, body.clone()).await {
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
