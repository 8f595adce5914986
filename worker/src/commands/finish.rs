//! Goes on with what interrupted commands began: a worker that dies may have had Stripe make
//! something that nobody asks for again.

use std::time::Duration;

use domain::ids::BookingId;
use shared::clock;
use store::{
    api_read,
    command::{self, Record, State},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    attempts::{Asked, Failed},
    booking::{current::Current, session::SessionMaker},
    consumer::COMMAND_TIMEOUT,
    error::CommandError,
    host::account_maker::AccountMaker,
    service::CommandService,
};
use crate::{
    jobs::{Job, JobError},
    stripe::client::Client,
};

/// How long an attempt is left to whoever began it.
const LEFT_ALONE: chrono::TimeDelta = chrono::TimeDelta::minutes(2);
/// The pause before an attempt that Stripe did not finish is gone on with again; it doubles with
/// each try. Each try may read Stripe's lists, whose reads are counted.
const FIRST_PAUSE: chrono::TimeDelta = chrono::TimeDelta::minutes(1);
/// The longest such pause.
const LONGEST_PAUSE: chrono::TimeDelta = chrono::TimeDelta::hours(1);
/// The most attempts of one run.
const MOST: i64 = 100;

/// The job.
#[derive(Debug)]
pub struct FinishCommands {
    /// Does the commands.
    pub service: CommandService,
    /// Stripe's API.
    pub client: Client,
}

impl Job for FinishCommands {
    const NAME: &'static str = "finish_commands";
    const EVERY: Duration = Duration::from_secs(60);

    async fn run_once(&mut self, stop: &CancellationToken) -> Result<(), JobError> {
        let before = clock::now_utc() - LEFT_ALONE;
        self.finish(before, stop).await
    }
}

impl FinishCommands {
    /// Goes on with the attempts in progress that began before `before`. One that Stripe does
    /// not finish now is left for a later run, after a pause that doubles. Where Stripe's
    /// allowance has no room for it Stripe is not asked.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn finish(
        &self,
        before: chrono::DateTime<chrono::Utc>,
        stop: &CancellationToken,
    ) -> Result<(), JobError> {
        let now = before + LEFT_ALONE;
        let records = {
            let conn = self.service.pool.get().await.map_err(store::Error::from)?;
            command::in_progress(&conn, before, now, MOST).await?
        };
        let mut left = 0;
        for record in records {
            if stop.is_cancelled() {
                break;
            }
            let has_room = {
                let conn = self.service.pool.get().await.map_err(store::Error::from)?;
                // Before Stripe is asked: a worker that dies meanwhile has tried, too.
                let until = now + pause(record.finish_tries);
                command::put_off(&conn, &record.key, record.attempt, until).await?;
                api_read::reads(&conn).await?.has_room_to_finish()
            };
            if !has_room {
                left += 1;
                continue;
            }
            // What is in the way of one must not hold up the others.
            let done = timeout(COMMAND_TIMEOUT, Box::pin(self.go_on(&record))).await;
            if let Err(error) = done.unwrap_or_else(|_| Err(CommandError::timed_out())) {
                let attempted_at = record.attempted_at;
                warn!(code = error.code, %attempted_at, "a command's attempt is still in progress");
            }
        }
        if left > 0 {
            warn!(
                attempts = left,
                "Stripe's allowance for reads of 30 days is nearly used up: what interrupted \
                 commands began is left to the same commands"
            );
        }
        Ok(())
    }

    async fn go_on(&self, record: &Record) -> Result<(), CommandError> {
        let client = &self.client;
        // Others are at it too: what has ended since is not asked for again.
        let now = {
            let conn = self.service.connection().await?;
            command::find(&conn, &record.key).await?
        };
        let is_open =
            |now: &Record| (now.attempt, now.state()) == (record.attempt, State::InProgress);
        if !now.as_ref().is_some_and(is_open) {
            return Ok(());
        }
        let ended = match record.key.split_once(':') {
            Some(("host.onboard", host)) => {
                let maker = AccountMaker { client, host };
                self.service.go_on(record, Asked::Perhaps, &maker).await
            }
            Some(("booking.checkout", booking)) => {
                let booking = domain::decode::booking_id(booking);
                let booking = booking.map_err(|_| CommandError::internal())?;
                let maker = SessionMaker {
                    client,
                    booking,
                    booking_key: &self.service.decoder.rules.booking_key,
                };
                match self.service.go_on(record, Asked::Perhaps, &maker).await {
                    Ok(()) => {
                        let shown = self.show(booking).await;
                        shown.map_err(Failed::Open)
                    }
                    failed => failed,
                }
            }
            // Of a later release.
            _ => Ok(()),
        };
        match ended {
            Ok(()) | Err(Failed::Ended(_)) => Ok(()),
            Err(Failed::Open(error)) => Err(error),
        }
    }

    /// Has the pipeline told whose the booking is of the session that was made. One that was asked
    /// for before a cancel is ended: the command that would do so may not come again.
    async fn show(&self, booking: BookingId) -> Result<(), CommandError> {
        let (service, client) = (&self.service, &self.client);
        if let Some(Current::Open { session, record }) = service.current(client, booking).await? {
            let now = service.cancels(booking).await?;
            if record.cancels.is_some_and(|count| count != now.count) {
                let expired = service.expire(client, booking, &session, &record);
                expired.await?;
            }
        }
        Ok(())
    }
}

/// The pause behind a try before which there were so many.
fn pause(tries: i32) -> chrono::TimeDelta {
    // Six times the first pause doubled is more than the longest one.
    let doubled = FIRST_PAUSE * 2_i32.pow(tries.clamp(0, 6).unsigned_abs());
    doubled.min(LONGEST_PAUSE)
}
