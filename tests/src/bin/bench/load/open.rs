//! Open-loop load: requests come at their own pace, however slow the answers are,
//! as from Stripe.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Result;
use futures_util::future::{try_join_all, try_join3};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::{
    requests::{Buffer, Requests},
    watch::{Watch, Watched},
};
use crate::{
    child::Parent,
    events::Events,
    latency::{Latencies, Latency},
};
use harness::client::Client;

/// How often requests that are due are looked for: as fine as the timer is.
const PACE: Duration = Duration::from_millis(1);

/// The job.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Open {
    pub(crate) address: SocketAddr,
    pub(crate) secret: String,
    pub(crate) events: Events,
    /// Requests a second.
    pub(crate) rate: u32,
    /// The most requests at once; further ones wait, and their wait counts.
    pub(crate) connections: usize,
    /// The first part of the load, which does not count.
    pub(crate) warm_up: Duration,
    pub(crate) watch: Watch,
}

/// What came of it.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Sent {
    /// Webhooks that were answered 200.
    pub(crate) count: usize,
    /// Those that were answered otherwise.
    pub(crate) refused: usize,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// From the moment that a request was due to its answer.
    pub(crate) answer: Latency,
    /// By how much the generator itself was late.
    pub(crate) late: Latency,
    /// From the moment that a request was due until its row was seen.
    pub(crate) visible: Watched,
}

impl Sent {
    /// Answers in a second, rounded up: no more than that can be held.
    pub(crate) fn answered_a_second(&self) -> u32 {
        let answers = u128::try_from(self.count).unwrap_or(u128::MAX);
        let rate = answers.saturating_mul(1000) / self.elapsed.as_millis().max(1);
        u32::try_from(rate).unwrap_or(u32::MAX).saturating_add(1)
    }
}

impl Open {
    pub(crate) async fn run(&self, parent: &mut Parent) -> Result<Sent> {
        let requests = Requests::sign(&self.events, &self.secret);
        let connecting = (0..self.connections).map(|_| Client::connect(self.address));
        let clients = try_join_all(connecting).await?;
        let client = self.watch.connect().await?;
        parent.ready()?;
        parent.begin();

        let shared = Shared {
            job: self,
            requests: &requests,
            start: Instant::now(),
            permits: Semaphore::new(0),
            due: RefCell::default(),
            refused: Cell::new(0),
            count: Cell::new(0),
            outstanding: RefCell::default(),
            is_sent: Cell::new(false),
        };
        let sending = async {
            let loops = clients.into_iter().map(|client| shared.send(client));
            let latencies = try_join_all(loops).await?;
            shared.is_sent.set(true);
            Ok((latencies, shared.start.elapsed()))
        };
        let (late, (latencies, elapsed), visible) = try_join3(
            shared.pace(),
            sending,
            self.watch
                .look(&client, &shared.outstanding, &shared.is_sent),
        )
        .await?;
        parent.end();
        let mut all = Latencies::default();
        latencies.into_iter().for_each(|some| all.append(some));
        Ok(Sent {
            count: shared.count.get(),
            refused: shared.refused.get(),
            elapsed,
            answer: all.summary(),
            late: late.summary(),
            visible,
        })
    }
}

/// An event that was sent and whose row was not seen yet.
#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) id: String,
    pub(super) due: Instant,
}

/// What the connections share, all on one thread.
struct Shared<'a> {
    job: &'a Open,
    requests: &'a Requests,
    start: Instant,
    /// One for each request that is due.
    permits: Semaphore,
    /// The requests that are due, in order.
    due: RefCell<VecDeque<(usize, Instant)>>,
    refused: Cell<usize>,
    count: Cell<usize>,
    outstanding: RefCell<VecDeque<Outstanding>>,
    is_sent: Cell<bool>,
}

impl Shared<'_> {
    /// Lets every request go when its time has come.
    async fn pace(&self) -> Result<Latencies> {
        let mut late = Latencies::default();
        let every = Duration::from_secs(1) / self.job.rate;
        let count = usize::try_from(self.job.events.range.end - self.job.events.range.start)?;
        let mut next = 0;
        let mut time = self.start;
        while next < count {
            let now = Instant::now();
            while time <= now && next < count {
                // The time that counts is when the request could go: the timer's
                // coarseness is the generator's and not ours.
                self.due.borrow_mut().push_back((next, now));
                late.push(now - time);
                self.permits.add_permits(1);
                next += 1;
                time += every;
            }
            tokio::time::sleep(PACE.min(time.saturating_duration_since(now))).await;
        }
        // One more for each, to find out that there is nothing more.
        self.permits.add_permits(self.job.connections);
        Ok(late)
    }

    async fn send(&self, mut client: Client) -> Result<Latencies> {
        let mut latencies = Latencies::default();
        let mut buffer = Buffer::default();
        loop {
            self.permits.acquire().await?.forget();
            let Some((place, due)) = self.due.borrow_mut().pop_front() else {
                return Ok(latencies);
            };
            let counts = due >= self.start + self.job.warm_up;
            if self.requests.write(place, &mut buffer).is_none() {
                return Ok(latencies);
            }
            let is_watched = counts && fastrand::u32(..self.job.watch.one_in) == 0;
            if is_watched {
                let id = self.requests.id(place);
                let outstanding = Outstanding { id, due };
                self.outstanding.borrow_mut().push_back(outstanding);
            }
            let status = client.exchange(&buffer.request).await?;
            if status != 200 {
                self.refused.set(self.refused.get() + 1);
                continue;
            }
            self.count.set(self.count.get() + 1);
            if counts {
                latencies.push(due.elapsed());
            }
        }
    }
}
