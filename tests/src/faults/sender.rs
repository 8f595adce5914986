//! Behaves as Stripe does: whatever is not answered 2xx is delivered again
//! later, with a fresh time and signature, until it is.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use fastrand::Rng;
use tokio::{sync::mpsc, task::JoinSet};

use super::{tally::Tally, world::World};
use crate::{
    client::{Client, HEAD},
    stripe,
};

/// How often what is due is looked for.
const PACE: Duration = Duration::from_millis(4);
/// The most deliveries at once: as many as `ingest` takes.
const AT_ONCE: usize = 2_000;
/// After this time Stripe gives up on an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// A connection that idled longer is not used again: the other end may be about
/// to close it.
const IDLE: Duration = Duration::from_secs(5);
/// Retries come after half a second to two and a half. Stripe's own come after
/// minutes and hours: the harness lives faster.
const RETRY_AFTER: (u64, u64) = (500, 2_500);

/// What is sent, to whom and how fast.
#[derive(Debug)]
pub struct Sender {
    /// The events.
    pub world: Arc<World>,
    /// Where `ingest` listens.
    pub address: SocketAddr,
    /// The secret that deliveries are signed with.
    pub secret: String,
    /// New deliveries a second.
    pub rate: u32,
    /// What is counted.
    pub tally: Arc<Tally>,
    /// Whose clock is wrong.
    pub clock: Clock,
}

/// The clock that deliveries are signed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The right time.
    Right,
    /// One in four 200 s ahead, one in four 200 s behind, and one in four 400 s
    /// ahead, until it is refused.
    Wrong,
}

/// One delivery of an event.
#[derive(Clone, Copy, Debug)]
struct Delivery {
    event: usize,
    tries: u32,
    due: Instant,
}

/// How far a signature's time is off, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skew {
    Accepted(i64),
    TooFar(i64),
}

type Answered = (Delivery, bool);

impl Sender {
    /// Delivers everything until all is answered 200. New deliveries keep their
    /// pace whatever the answers are. `sent` is told when the last new one is on
    /// its way.
    ///
    /// # Errors
    /// When nothing was answered 200 for three minutes.
    pub async fn run(self, mut rng: Rng, sent: impl FnOnce()) -> Result<()> {
        const STUCK: Duration = Duration::from_secs(180);
        let order = self.world.deliveries(&mut rng);
        let (mut fresh, mut sent) = (order.into_iter().peekable(), Some(sent));
        let mut retries: BinaryHeap<Reverse<(Instant, usize, u32)>> = BinaryHeap::new();
        let (answers, mut answered) = mpsc::unbounded_channel::<Answered>();
        let link = Arc::new(self);
        let pool = Arc::new(Pool::default());
        let mut tasks = JoinSet::new();
        let every = Duration::from_secs(1) / link.rate;
        let mut next = Instant::now();
        let (mut open, mut last_success) = (0, Instant::now());
        loop {
            tokio::time::sleep(PACE).await;
            link.tally.tick();
            while let Ok((delivery, is_done)) = answered.try_recv() {
                open -= 1;
                if is_done {
                    last_success = Instant::now();
                    continue;
                }
                let pause = Duration::from_millis(rng.u64(RETRY_AFTER.0..RETRY_AFTER.1));
                let again = (Instant::now() + pause, delivery.event, delivery.tries + 1);
                retries.push(Reverse(again));
            }
            while tasks.try_join_next().is_some() {}
            link.tally.set_in_flight(open);
            let now = Instant::now();
            if link.tally.is_paused() {
                (next, last_success) = (now, now);
                continue;
            }
            let mut go = |delivery: Delivery, skew: Skew| {
                open += 1;
                let (link, pool, answers) = (Arc::clone(&link), Arc::clone(&pool), answers.clone());
                tasks.spawn(async move {
                    let is_done = link.deliver(&pool, delivery, skew).await;
                    // Nobody listens any more once the run has failed.
                    let _ = answers.send((delivery, is_done));
                });
                open < AT_ONCE
            };
            let mut has_room = true;
            while has_room && let Some(Reverse((due, event, tries))) = retries.peek().copied() {
                if due > now {
                    break;
                }
                retries.pop();
                has_room = go(Delivery { event, tries, due }, Skew::Accepted(0));
            }
            while has_room
                && next <= now
                && let Some(event) = fresh.next()
            {
                let delivery = Delivery {
                    event,
                    tries: 0,
                    due: next.max(now - PACE),
                };
                has_room = go(delivery, link.clock.skew(&mut rng));
                next += every;
            }
            if !has_room {
                next = now;
            }
            if fresh.peek().is_none() {
                if let Some(sent) = sent.take() {
                    sent();
                }
                if open == 0 && retries.is_empty() {
                    return Ok(());
                }
            }
            if last_success.elapsed() > STUCK {
                bail!("no event was accepted for {} s", STUCK.as_secs());
            }
        }
    }

    /// Delivers once; whether it was answered 200.
    async fn deliver(&self, pool: &Pool, delivery: Delivery, skew: Skew) -> bool {
        let body = self.world.body(delivery.event, delivery.tries);
        let time = stripe::now() + skew.seconds();
        let signature = stripe::sign(&self.secret, time, &body);
        let mut request = Vec::with_capacity(HEAD.len() + 200 + body.len());
        request.extend_from_slice(HEAD);
        request.extend_from_slice(signature.as_bytes());
        let length = format!("\r\ncontent-length: {}\r\n\r\n", body.len());
        request.extend_from_slice(length.as_bytes());
        request.extend_from_slice(&body);
        let exchanged = tokio::time::timeout(PATIENCE, pool.exchange(self.address, &request));
        match (exchanged.await, skew) {
            (Ok(Ok(status)), Skew::Accepted(_)) => {
                let latency = (delivery.tries == 0).then(|| delivery.due.elapsed());
                self.tally.answer(status, latency);
                status == 200
            }
            (Ok(Ok(status)), Skew::TooFar(_)) => {
                self.tally.early(status);
                false
            }
            (Ok(Err(_)) | Err(_), _) => {
                self.tally.unanswered();
                false
            }
        }
    }
}

impl Clock {
    fn skew(self, rng: &mut Rng) -> Skew {
        match (self, rng.u8(..4)) {
            (Self::Right, _) | (Self::Wrong, 0) => Skew::Accepted(0),
            (Self::Wrong, 1) => Skew::Accepted(200),
            (Self::Wrong, 2) => Skew::Accepted(-200),
            (Self::Wrong, _) => Skew::TooFar(400),
        }
    }
}

impl Skew {
    fn seconds(self) -> i64 {
        match self {
            Self::Accepted(seconds) | Self::TooFar(seconds) => seconds,
        }
    }
}

/// Connections that are kept for the next delivery.
#[derive(Debug, Default)]
struct Pool(Mutex<Vec<(Client, Instant)>>);

impl Pool {
    async fn exchange(&self, address: SocketAddr, request: &[u8]) -> Result<u16> {
        let kept = self.take();
        let mut client = match kept {
            Some(client) => client,
            None => Client::connect(address).await?,
        };
        let status = client.exchange(request).await?;
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clients.push((client, Instant::now()));
        Ok(status)
    }

    fn take(&self) -> Option<Client> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The last one came back last: if it is stale, all are.
        let (client, since) = clients.pop()?;
        if since.elapsed() < IDLE {
            return Some(client);
        }
        clients.clear();
        None
    }
}
