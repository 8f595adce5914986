//! Looks for the rows of events that were sent.
//!
//! A row says when its transaction began and not when it was committed, so that
//! it is looked for from another connection. An event counts as visible when the
//! answer that has it arrives: the time between two looks is part of the figure.

use std::{
    cell::{Cell, RefCell},
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use anyhow::Result;
use harness::servers::postgres;
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use super::open::Outstanding;
use crate::latency::{Latencies, Latency};

/// The most rows looked for at once: events become visible in about the order
/// that they were sent in.
const AT_ONCE: usize = 200;
/// The pause while there is nothing to look for.
const IDLE: Duration = Duration::from_millis(1);

/// How to look.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Watch {
    pub(crate) database_url: String,
    /// One in so many events is looked for.
    pub(crate) one_in: u32,
    /// The pause between two looks; zero for none.
    pub(crate) pause: Duration,
    /// How long after the last request rows are looked for.
    pub(crate) bound: Duration,
}

/// What was seen.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Watched {
    /// From when the request was due to when its row was seen.
    pub(crate) latency: Latency,
    /// Events whose rows were seen.
    pub(crate) seen: usize,
    /// Events whose rows were not.
    pub(crate) unseen: usize,
    /// The time from one look to the next.
    pub(crate) step: Latency,
}

impl Watch {
    pub(super) async fn connect(&self) -> Result<Client> {
        let client = postgres::connect(&self.database_url).await?;
        // A plan that is made while the table is empty would read all of it at
        // each look.
        client.batch_execute("SET enable_seqscan = off").await?;
        Ok(client)
    }

    /// Looks until all has been sent and seen.
    pub(super) async fn look(
        &self,
        client: &Client,
        outstanding: &RefCell<VecDeque<Outstanding>>,
        is_sent: &Cell<bool>,
    ) -> Result<Watched> {
        let query = "SELECT id FROM stripe.event WHERE id = ANY($1)";
        let query = client.prepare(query).await?;
        let (mut latencies, mut steps) = (Latencies::default(), Latencies::default());
        let mut last = Instant::now();
        let mut sent = None;
        loop {
            if is_sent.get() {
                let since = *sent.get_or_insert_with(Instant::now);
                if outstanding.borrow().is_empty() || since.elapsed() > self.bound {
                    break;
                }
            }
            // Without a pause for as long as a row is looked for, and not before:
            // the timer is no finer than a millisecond.
            let waits = !outstanding.borrow().is_empty();
            if !(waits && self.pause.is_zero()) {
                tokio::time::sleep(self.pause.max(IDLE)).await;
            }
            let ids: Vec<String> = {
                let outstanding = outstanding.borrow();
                let oldest = outstanding.iter().take(AT_ONCE);
                oldest.map(|event| event.id.clone()).collect()
            };
            if ids.is_empty() {
                last = Instant::now();
                continue;
            }
            let rows = client.query(&query, &[&ids]).await?;
            let now = Instant::now();
            steps.push(now - last);
            last = now;
            let seen: HashSet<&str> = rows.iter().map(|row| row.get(0)).collect();
            outstanding.borrow_mut().retain(|event| {
                let is_seen = seen.contains(event.id.as_str());
                if is_seen {
                    latencies.push(now - event.due);
                }
                !is_seen
            });
        }
        Ok(Watched {
            seen: latencies.len(),
            unseen: outstanding.borrow().len(),
            latency: latencies.summary(),
            step: steps.summary(),
        })
    }
}
