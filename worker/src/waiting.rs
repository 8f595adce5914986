//! Joins waiting invoices as soon as their booking is there, and decides claims
//! as soon as the booking's account is known.
//!
//! A session or an event that was missing is noticed when it arrives. A booking
//! is made by the main app, which tells nobody, so it is looked for.

use std::{collections::BTreeMap, time::Duration};

use shared::telemetry::report;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{events::world::Again, failure::Failure, settle::Settler, store::invoice};

/// How often bookings are looked for.
const EVERY: Duration = Duration::from_secs(1);
/// The most invoices and sessions looked at in one transaction.
const AT_ONCE: i64 = 100;
/// The most transactions between two pauses. Invoices whose booking has no known
/// owner are all looked at, and a host can make as many as it likes: the next
/// look goes on where this one ended.
const PAGES: usize = 10;
/// How long an object is left alone that something is in the way of: at first, and
/// at most. Each try can cost everybody the wait for a lock.
const PASS_OVER: Duration = Duration::from_secs(2);
const PASS_OVER_AT_MOST: Duration = Duration::from_secs(60);
/// The most objects that are left alone.
const MOST_PASSED_OVER: usize = 10_000;

/// How far looking has come.
#[derive(Debug, Default)]
pub struct Progress {
    /// The last object looked at; empty before the first.
    after: String,
    /// Objects that are left alone, by id.
    passed_over: BTreeMap<String, Pause>,
}

#[derive(Debug)]
struct Pause {
    until: Instant,
    length: Duration,
}

impl Progress {
    /// Whether the next look begins with the first object.
    pub fn is_at_start(&self) -> bool {
        self.after.is_empty()
    }

    /// Whether the object is not left alone now.
    fn is_due(&self, id: &str, now: Instant) -> bool {
        let pause = self.passed_over.get(id);
        pause.is_none_or(|pause| pause.until <= now)
    }

    /// Takes down what came of a look.
    fn note(&mut self, looked_at: &Again, passed_over: &Again, now: Instant) {
        // What is not looked at any more waits no longer.
        self.passed_over
            .retain(|_, pause| now < pause.until + PASS_OVER_AT_MOST);
        for id in looked_at.ids() {
            let before = self.passed_over.remove(id).map(|pause| pause.length * 2);
            let has_room = before.is_some() || self.passed_over.len() < MOST_PASSED_OVER;
            if has_room && passed_over.ids().any(|other| other == id) {
                let length = before.unwrap_or(PASS_OVER).min(PASS_OVER_AT_MOST);
                let until = now + length;
                self.passed_over
                    .insert(id.to_owned(), Pause { until, length });
            }
        }
    }
}

/// Looks for bookings until `stop`.
pub async fn run(settler: &Settler, stop: &CancellationToken) {
    let mut progress = Progress::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
        match look(settler, &mut progress, PAGES).await {
            Ok(0) => {}
            Ok(objects) => debug!(objects, "looked again at what waits"),
            Err(failure) => warn!(reason = %report(&failure), "what waits must go on waiting"),
        }
    }
}

/// Looks once at every invoice and session whose booking may be there now. Gives back how
/// many were looked at.
///
/// # Errors
/// [`Failure`]; what was joined before stays joined.
pub async fn join(settler: &Settler) -> Result<usize, Failure> {
    look(settler, &mut Progress::default(), usize::MAX).await
}

/// Looks at some pages of them, from where the look before ended; behind the last
/// comes the first again. Gives back how many were looked at.
///
/// # Errors
/// [`Failure`]; what was joined before stays joined.
pub async fn look(
    settler: &Settler,
    progress: &mut Progress,
    pages: usize,
) -> Result<usize, Failure> {
    let mut looked_at = 0;
    for _ in 0..pages {
        let page = {
            let conn = settler.pool.get().await?;
            let has_bookings = settler.look_for_bookings(&conn).await?;
            invoice::due(&conn, has_bookings, &progress.after, AT_ONCE).await?
        };
        let Some((mut due, last)) = page else {
            progress.after.clear();
            break;
        };
        progress.after = last;
        let now = Instant::now();
        due.retain(|id| progress.is_due(id, now));
        if due.is_empty() {
            continue;
        }
        let passed_over = settler.look_again(&due).await?;
        progress.note(&due, &passed_over, Instant::now());
        looked_at += due.len();
    }
    Ok(looked_at)
}
