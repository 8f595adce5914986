//! Ends the sessions that commands made for bookings that something else has paid: the main
//! app's own session, or an invoice of the host's. No command may ask for such a booking again,
//! and a guest could pay it once more for a day.
//!
//! It sends Stripe no read. What it has ended is told, and is not looked at again; a worker that
//! dies in between ends it once more, which Stripe refuses.

use std::{collections::BTreeMap, time::Duration};

use shared::clock;
use store::command::{self, Record};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    booking::{booking_of_key, session::MAY_BE_OPEN},
    consumer::COMMAND_TIMEOUT,
    error::CommandError,
    service::CommandService,
};
use crate::{
    backoff::Retry,
    jobs::{Job, JobError},
    stripe::client::Client,
};

/// The most sessions that are looked up at once.
const PAGE: i64 = 100;
/// The pause before a session is tried once more that Stripe did not end, or that was not told
/// to be over.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest such pause. Stripe refuses for good where a guest was faster and the event of it
/// was lost, or the host has left.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// The job.
#[derive(Debug)]
pub struct EndPaidCheckouts {
    /// Does the commands.
    service: CommandService,
    /// Stripe's API.
    client: Client,
    /// The sessions that were tried, by the key and the attempt, and when they are tried again.
    tried: BTreeMap<(String, i32), Retry>,
}

impl Job for EndPaidCheckouts {
    const NAME: &'static str = "end_paid_checkouts";
    const EVERY: Duration = Duration::from_secs(10);

    async fn run_once(&mut self, stop: &CancellationToken) -> Result<(), JobError> {
        self.end_all(stop).await
    }
}

impl EndPaidCheckouts {
    /// The job, which has tried nothing yet.
    pub fn new(service: CommandService, client: Client) -> Self {
        Self {
            service,
            client,
            tried: BTreeMap::new(),
        }
    }

    /// Ends every session by which a guest could pay a paid booking. One that Stripe does not
    /// end now is left for a later run.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn end_all(&mut self, stop: &CancellationToken) -> Result<(), JobError> {
        let since = clock::now_utc() - MAY_BE_OPEN;
        let mut after: Option<Record> = None;
        let mut tried = BTreeMap::new();
        loop {
            let page = {
                let conn = self.service.pool.get().await.map_err(store::Error::from)?;
                command::payable_of_paid(&conn, since, after.as_ref(), PAGE).await?
            };
            let Some(last) = page.last().cloned() else {
                // Those that are over are forgotten.
                self.tried = tried;
                return Ok(());
            };
            after = Some(last);
            for record in page {
                if stop.is_cancelled() {
                    return Ok(());
                }
                let key = (record.key.clone(), record.attempt);
                let before = self.tried.get(&key).copied();
                if let Some(retry) = before.filter(|retry| !retry.is_due()) {
                    tried.insert(key, retry);
                    continue;
                }
                // What is in the way of one must not hold up the others.
                let ended = timeout(COMMAND_TIMEOUT, self.end(&record)).await;
                match ended.unwrap_or_else(|_| Err(CommandError::timed_out())) {
                    Ok(false) => {}
                    Ok(true) => {
                        info!(
                            session = record.object_id,
                            "Stripe was asked to end the session of a booking that is paid"
                        );
                        tried.insert(key, Retry::after(before, FIRST_PAUSE, LONGEST_PAUSE));
                    }
                    Err(error) => {
                        warn!(
                            session = record.object_id,
                            code = error.code,
                            "the session of a paid booking is still open"
                        );
                        tried.insert(key, Retry::after(before, FIRST_PAUSE, LONGEST_PAUSE));
                    }
                }
            }
        }
    }

    /// Ends one session, where its booking is paid by what may pay for it. Returns whether
    /// that is so.
    async fn end(&self, record: &Record) -> Result<bool, CommandError> {
        let booking = booking_of_key(&record.key).ok_or_else(CommandError::internal)?;
        let service = &self.service;
        if !service.is_paid_by_other(booking, record).await? {
            return Ok(false);
        }
        let ended = service.end_of_paid(&self.client, booking, record).await;
        ended.map(|()| true)
    }
}
