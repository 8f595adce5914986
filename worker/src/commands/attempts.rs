//! Having Stripe make something once, whoever is killed and whatever is sent twice.
//!
//! What Stripe is asked is noted before it is asked, with an idempotency key. Whoever finds
//! an attempt in progress asks once more under that key, with the same parameters: then
//! Stripe does it now, or answers what it answered before. Only where it is known that
//! nothing was made does another attempt begin, under another key.

use std::{future::Future, time::Duration};

use serde_json::Value;
use shared::clock;
use store::command::{self, Attempt, End, Record, State};
use tracing::{info, warn};

use super::{error::CommandError, service::CommandService};
use crate::stripe::{
    call::{ApiFamily, IdempotencyKey},
    error::{ApiError, Refusal},
};

/// For how long Stripe keeps an idempotency key at least; its version 2 keeps it longer.
const KEY_LASTS: Duration = Duration::from_secs(23 * 3600);
/// By how much Stripe's clock may differ from the database's, in seconds.
const CLOCKS_DIFFER: i64 = 300;
/// The most attempts of one command.
const MOST_ATTEMPTS: u32 = 3;

/// What is to exist once.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// What it is and for whom, such as `host.onboard:42`.
    pub(super) key: &'a str,
    /// The hash of what is asked for.
    pub(super) payload_hash: [u8; 32],
    /// The API that is asked.
    pub(super) family: ApiFamily,
    /// The connected account on whose behalf it is asked.
    pub(super) account: Option<&'a str>,
    /// The request.
    pub(super) request: &'a Value,
    /// The attempt whose object is no longer the one that counts.
    pub(super) over: Option<i32>,
}

/// Asks Stripe for one kind of thing.
pub(super) trait Maker: Sync {
    /// Has it made. Gives back its id.
    ///
    /// # Errors
    /// [`ApiError`].
    fn make(
        &self,
        record: &Record,
        request: Value,
        key: IdempotencyKey,
    ) -> impl Future<Output = Result<String, ApiError>> + Send;

    /// Looks for what the attempt may have made at or after `since`, in Unix seconds.
    ///
    /// # Errors
    /// [`ApiError`].
    fn look(
        &self,
        record: &Record,
        since: i64,
    ) -> impl Future<Output = Result<Option<String>, ApiError>> + Send;

    /// What a refusal means to the main app.
    fn refused(&self, record: &Record, refusal: Refusal) -> CommandError;
}

/// How an attempt ended.
enum Ended {
    /// It was made, and has this id.
    Made(String),
    /// Nothing was made, for this reason.
    Nothing(CommandError),
}

impl CommandService {
    /// Has something made that is to exist once. Gives back the attempt that made it, which
    /// may be another caller's, with another payload.
    pub(super) async fn make_once(
        &self,
        wanted: &Wanted<'_>,
        maker: &impl Maker,
    ) -> Result<Record, CommandError> {
        for _ in 0..MOST_ATTEMPTS {
            let record = self.begin(wanted).await?;
            match record.state() {
                State::Done => return Ok(record),
                // Somebody else's attempt ended just now.
                State::Failed => continue,
                State::InProgress => {}
            }
            match self.go_on(&record, maker).await {
                Ok(()) => {}
                // Another caller's payload was refused, or Stripe failed: ours is tried.
                Err(Failed::Ended(error)) => {
                    if record.payload_hash == wanted.payload_hash && !error.retryable {
                        return Err(error);
                    }
                    continue;
                }
                Err(Failed::Open(error)) => return Err(error),
            }
            let conn = self.connection().await?;
            if let Some(record) = command::find(&conn, wanted.key).await?
                && record.state() == State::Done
            {
                return Ok(record);
            }
        }
        Err(CommandError::stripe_unavailable())
    }

    /// Goes on with an attempt in progress, and notes how it ended.
    pub(super) async fn go_on(&self, record: &Record, maker: &impl Maker) -> Result<(), Failed> {
        let ended = self.attempt(record, maker).await.map_err(Failed::Open)?;
        let conn = self.connection().await.map_err(Failed::Open)?;
        let end = match &ended {
            Ended::Made(id) => End::Made(id),
            Ended::Nothing(error) => End::Nothing(error.code),
        };
        let noted = command::end(&conn, &record.key, record.attempt, end).await;
        let is_first = noted.map_err(|error| Failed::Open(error.into()))?;
        match ended {
            Ended::Made(id) => {
                if is_first {
                    info!(object = id, "Stripe made what a command asked for");
                }
                Ok(())
            }
            Ended::Nothing(error) => Err(Failed::Ended(error)),
        }
    }

    /// Begins an attempt, or another one behind one that is over. Gives back the attempt that
    /// counts now.
    async fn begin(&self, wanted: &Wanted<'_>) -> Result<Record, CommandError> {
        let idempotency_key = format!("dialoom-{:032x}", fastrand::u128(..));
        let attempt = Attempt {
            key: wanted.key,
            idempotency_key: &idempotency_key,
            payload_hash: &wanted.payload_hash,
            api: wanted.family.as_str(),
            account: wanted.account,
            request: wanted.request,
        };
        let conn = self.connection().await?;
        command::begin(&conn, &attempt).await?;
        let find = async || -> Result<Record, CommandError> {
            let record = command::find(&conn, wanted.key).await?;
            record.ok_or_else(CommandError::in_progress)
        };
        let record = find().await?;
        let is_over = match record.state() {
            State::Failed => true,
            State::InProgress => false,
            State::Done => wanted.over == Some(record.attempt),
        };
        if !is_over {
            return Ok(record);
        }
        command::begin_again(&conn, record.attempt, &attempt).await?;
        find().await
    }

    /// Asks Stripe once more for what an attempt in progress asks for. An error leaves it in
    /// progress.
    async fn attempt(&self, record: &Record, maker: &impl Maker) -> Result<Ended, CommandError> {
        let age = clock::now_utc() - record.attempted_at;
        if age.to_std().is_ok_and(|age| age > KEY_LASTS) {
            return look(record, maker).await;
        }
        let request = record.request.clone();
        let request = request.ok_or_else(CommandError::in_progress)?;
        let key = IdempotencyKey(record.idempotency_key.clone());
        match maker.make(record, request, key).await {
            Ok(id) => Ok(Ended::Made(id)),
            // The key keeps this answer, so Stripe is asked for the object itself.
            Err(ApiError::Failed { .. } | ApiError::Unreadable(_)) => look(record, maker).await,
            Err(ApiError::Refused(refusal)) if refusal.status == 409 => {
                Err(CommandError::in_progress())
            }
            Err(ApiError::Refused(refusal))
                if refusal.kind.as_deref() == Some("idempotency_error") =>
            {
                look(record, maker).await
            }
            Err(ApiError::Refused(refusal)) => {
                warn!(%refusal, "Stripe refused what a command asked for");
                Ok(Ended::Nothing(maker.refused(record, refusal)))
            }
            Err(error @ (ApiError::RateLimited(_) | ApiError::NoAnswer(_))) => Err(error.into()),
        }
    }
}

/// Why an attempt made nothing.
pub(super) enum Failed {
    /// It ended: nothing was made.
    Ended(CommandError),
    /// It is still in progress.
    Open(CommandError),
}

/// Looks at Stripe whether an attempt made something.
async fn look(record: &Record, maker: &impl Maker) -> Result<Ended, CommandError> {
    let since = record.attempted_at.timestamp() - CLOCKS_DIFFER;
    Ok(match maker.look(record, since).await? {
        Some(id) => Ended::Made(id),
        None => Ended::Nothing(CommandError::stripe_unavailable()),
    })
}
