//! Closed-loop load: every connection sends its next request when it has the
//! answer to the last.

use std::{
    cell::Cell,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use futures_util::future::{try_join, try_join_all};
use serde::{Deserialize, Serialize};

use super::requests::{Buffer, Requests};
use crate::{
    child::Parent,
    events::Events,
    latency::{Latencies, Latency},
};
use harness::client::Client;

/// The job.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Closed {
    pub(crate) address: SocketAddr,
    pub(crate) secret: String,
    /// No more than these are sent.
    pub(crate) events: Events,
    pub(crate) connections: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measure: Duration,
}

/// What came of it.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Answered {
    /// Webhooks that were answered 200 while it was measured.
    pub(crate) count: usize,
    /// Those that were answered otherwise, in all.
    pub(crate) refused: usize,
    /// For how long it was measured.
    pub(crate) elapsed: Duration,
    /// From the first byte of a request to the last of its answer.
    pub(crate) latency: Latency,
}

impl Closed {
    pub(crate) async fn run(&self, parent: &mut Parent) -> Result<Answered> {
        let requests = Requests::sign(&self.events, &self.secret);
        let connecting = (0..self.connections).map(|_| Client::connect(self.address));
        let clients = try_join_all(connecting).await?;
        parent.ready()?;

        let shared = Shared {
            requests: &requests,
            next: Cell::new(0),
            refused: Cell::new(0),
            measuring: Cell::new(None),
            over: Cell::new(false),
        };
        let loops = try_join_all(clients.into_iter().map(|client| shared.send(client)));
        let clock = async {
            tokio::time::sleep(self.warm_up).await;
            parent.begin();
            let start = Instant::now();
            shared.measuring.set(Some(start));
            tokio::time::sleep(self.measure).await;
            parent.end();
            shared.over.set(true);
            Ok(start.elapsed())
        };
        let (latencies, elapsed) = try_join(loops, clock).await?;
        ensure!(
            shared.next.get() < usize::MAX / 2,
            "the signed events did not suffice: {} s are too long",
            self.measure.as_secs()
        );
        let mut all = Latencies::default();
        latencies.into_iter().for_each(|some| all.append(some));
        Ok(Answered {
            count: all.len(),
            refused: shared.refused.get(),
            elapsed,
            latency: all.summary(),
        })
    }
}

/// What the connections share, all on one thread.
struct Shared<'a> {
    requests: &'a Requests,
    next: Cell<usize>,
    refused: Cell<usize>,
    measuring: Cell<Option<Instant>>,
    over: Cell<bool>,
}

impl Shared<'_> {
    async fn send(&self, mut client: Client) -> Result<Latencies> {
        let mut latencies = Latencies::default();
        let mut buffer = Buffer::default();
        while !self.over.get() {
            let place = self.next.get();
            self.next.set(place + 1);
            if self.requests.write(place, &mut buffer).is_none() {
                self.next.set(usize::MAX / 2);
                break;
            }
            let sent = Instant::now();
            let status = client.exchange(&buffer.request).await?;
            if status != 200 {
                self.refused.set(self.refused.get() + 1);
            } else if self.measuring.get().is_some_and(|start| sent >= start) && !self.over.get() {
                latencies.push(sent.elapsed());
            }
        }
        Ok(latencies)
    }
}
