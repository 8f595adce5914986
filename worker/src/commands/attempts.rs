//! Having Stripe make something once, whoever is killed and whatever is sent twice.
//!
//! What Stripe is asked is noted before it is asked, with an idempotency key. Whoever finds
//! an attempt in progress asks once more under that key, with the same parameters: then
//! Stripe does it now, or answers what it answered before. Only where it is known that
//! nothing was made, and that nothing can be made under that key any more, does another
//! attempt begin, under another key.

mod look;

use std::{future::Future, time::Duration};

use serde_json::Value;
use shared::clock;
use store::command::{self, Attempt, End, Record, State};
use tracing::{info, warn};

use self::look::{look, look_late};
use super::{
    error::{CommandError, EXPIRED, STRIPE_REFUSED},
    service::CommandService,
};
use crate::stripe::{
    call::{ApiFamily, IdempotencyKey},
    error::{ApiError, Refusal},
};

/// After so long no request of an attempt is under way any more.
const SETTLED: Duration = Duration::from_secs(300);
/// After so long what an attempt made has come to its end: it was made while the key lasted, and
/// a session is open for a day at most.
pub(super) const OUTLIVED: Duration = Duration::from_secs(48 * 3600);
/// The most attempts of one command.
const MOST_ATTEMPTS: u32 = 3;

/// For how long the same request under one idempotency key has one effect at Stripe: an hour less
/// than 24 hours by version 1, and a day less than 30 days by version 2.
///
/// Stripe's own words on both: <https://docs.stripe.com/api-v2-overview#idempotency>, "Idempotency
/// differences between API v1 and API v2".
const fn key_lasts(family: ApiFamily) -> Duration {
    match family {
        ApiFamily::V1 => Duration::from_secs(23 * 3600),
        ApiFamily::V2 => Duration::from_secs(29 * 24 * 3600),
    }
}

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
    /// How often it had been canceled when the command came; `None` where it cannot be canceled.
    pub(super) cancels: Option<i32>,
}

/// Asks Stripe for one kind of thing.
pub(super) trait Maker: Sync {
    /// Has it made. Returns its id.
    ///
    /// # Errors
    /// [`ApiError`].
    fn make(
        &self,
        record: &Record,
        request: Value,
        key: IdempotencyKey,
    ) -> impl Future<Output = Result<String, ApiError>> + Send;

    /// Looks for what the attempt may have made at or after `since`, in Unix seconds: by its
    /// `mark`, else by what it is for.
    ///
    /// # Errors
    /// [`ApiError`].
    fn look(
        &self,
        record: &Record,
        mark: Option<&str>,
        since: i64,
    ) -> impl Future<Output = Result<Option<String>, ApiError>> + Send;

    /// Does what is due as soon as it is made, before that is noted: where it fails, or the
    /// worker dies meanwhile, the attempt is found in progress, and this is done again.
    ///
    /// # Errors
    /// It is still due.
    fn made(
        &self,
        _: &CommandService,
        _: &str,
    ) -> impl Future<Output = Result<(), CommandError>> + Send {
        async { Ok(()) }
    }

    /// What a refusal means to the main app.
    fn refused(&self, record: &Record, refusal: Refusal) -> CommandError;
}

/// Whether Stripe was perhaps asked for the attempt before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It has begun just now.
    Never,
    /// Somebody else began it, and may have asked.
    Perhaps,
}

/// How an attempt ended.
enum Ended {
    /// It was made, and has this id.
    Made(String),
    /// Nothing was made, for this reason.
    Nothing(CommandError),
    /// Its caller's time was over before Stripe was asked.
    Unasked,
}

impl CommandService {
    /// Has something made that is to exist once. Returns the attempt that made it, which
    /// may be another caller's, with another payload.
    pub(super) async fn make_once(
        &self,
        wanted: &Wanted<'_>,
        maker: &impl Maker,
    ) -> Result<Record, CommandError> {
        for _ in 0..MOST_ATTEMPTS {
            let (record, asked) = self.begin(wanted).await?;
            match record.state() {
                State::Done => return Ok(record),
                // Somebody else's attempt ended just now.
                State::Failed => continue,
                State::InProgress => {}
            }
            match self.go_on(&record, asked, maker).await {
                Ok(()) => {}
                // Another caller's payload was refused, or Stripe failed: ours is tried.
                Err(Failed::Ended(error)) => {
                    let is_ours = record.payload_hash == wanted.payload_hash;
                    if error.code == EXPIRED || (is_ours && !error.retryable) {
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

    /// What is noted under a key, once no attempt is in progress any more: one that is goes on
    /// first.
    pub(super) async fn settled(
        &self,
        key: &str,
        maker: &impl Maker,
    ) -> Result<Option<Record>, CommandError> {
        let find = async || -> Result<Option<Record>, CommandError> {
            let conn = self.connection().await?;
            Ok(command::find(&conn, key).await?)
        };
        let found = find().await?;
        let is_open = |record: &&Record| record.state() == State::InProgress;
        let Some(record) = found.as_ref().filter(is_open) else {
            return Ok(found);
        };
        match self.go_on(record, Asked::Perhaps, maker).await {
            Ok(()) | Err(Failed::Ended(_)) => find().await,
            Err(Failed::Open(error)) => Err(error),
        }
    }

    /// Goes on with an attempt in progress, and notes how it ended.
    pub(super) async fn go_on(
        &self,
        record: &Record,
        asked: Asked,
        maker: &impl Maker,
    ) -> Result<(), Failed> {
        let ended = self.attempt(record, asked, maker).await;
        let ended = ended.map_err(Failed::Open)?;
        if let Ended::Made(id) = &ended {
            maker.made(self, id).await.map_err(Failed::Open)?;
        }
        let conn = self.connection().await.map_err(Failed::Open)?;
        let end = match &ended {
            Ended::Made(id) => End::Made(id),
            Ended::Nothing(error) => End::Nothing(error.code),
            Ended::Unasked => End::Unasked(EXPIRED),
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
            // Where somebody has taken it over, he may have it made, and it stays open.
            Ended::Unasked => Err(match is_first {
                true => Failed::Ended(CommandError::expired()),
                false => Failed::Open(CommandError::expired()),
            }),
        }
    }

    /// Begins an attempt, or another one behind one that is over. Returns the attempt that
    /// counts now, which may be another caller's.
    async fn begin(&self, wanted: &Wanted<'_>) -> Result<(Record, Asked), CommandError> {
        let IdempotencyKey(idempotency_key) = IdempotencyKey::generate();
        let attempt = Attempt {
            key: wanted.key,
            idempotency_key: &idempotency_key,
            payload_hash: &wanted.payload_hash,
            api: wanted.family.as_str(),
            account: wanted.account,
            request: wanted.request,
            cancels: wanted.cancels,
        };
        let conn = self.connection().await?;
        command::begin(&conn, &attempt).await?;
        let find = async || -> Result<(Record, Asked), CommandError> {
            let record = command::find(&conn, wanted.key).await?;
            let record = record.ok_or_else(CommandError::in_progress)?;
            let asked = match record.idempotency_key == idempotency_key {
                true => Asked::Never,
                false => Asked::Perhaps,
            };
            Ok((record, asked))
        };
        let (record, asked) = find().await?;
        let is_over = match record.state() {
            State::Failed => true,
            State::InProgress => false,
            State::Done => wanted.over == Some(record.attempt),
        };
        if !is_over {
            return Ok((record, asked));
        }
        command::begin_again(&conn, record.attempt, &attempt).await?;
        find().await
    }

    /// Asks Stripe once more for what an attempt in progress asks for. An error leaves it in
    /// progress.
    async fn attempt(
        &self,
        record: &Record,
        asked: Asked,
        maker: &impl Maker,
    ) -> Result<Ended, CommandError> {
        let age = (clock::now_utc() - record.attempted_at).to_std();
        let age = age.unwrap_or_default();
        let key_lasts = key_lasts(ApiFamily::of(&record.api));
        if age > key_lasts + SETTLED {
            return look_late(record, age, maker).await;
        }
        if age > key_lasts {
            // Whoever asked last may be at it.
            return Err(CommandError::in_progress());
        }
        let request = record.request.clone();
        let request = request.ok_or_else(CommandError::in_progress)?;
        let key = IdempotencyKey(record.idempotency_key.clone());
        if asked == Asked::Perhaps {
            let conn = self.connection().await?;
            if !command::take_over(&conn, &record.key, record.attempt).await? {
                // It ended meanwhile: nothing is to be made under its key any more.
                return Err(CommandError::in_progress());
            }
        }
        match maker.make(record, request, key).await {
            Ok(id) => Ok(Ended::Made(id)),
            Err(
                error @ (ApiError::Failed { .. }
                | ApiError::Unreadable(_)
                | ApiError::NotStripes { .. }),
            ) => {
                match look(record, maker).await? {
                    Some(id) => Ok(Ended::Made(id)),
                    None if is_kept(record, &error) => Ok(nothing_now()),
                    // The same key may still make it: another one would make a second.
                    None => Err(CommandError::stripe_unavailable()),
                }
            }
            Err(ApiError::Refused(refusal)) if refusal.status == 409 => {
                Err(CommandError::in_progress())
            }
            Err(ApiError::Refused(refusal))
                if refusal.kind.as_deref() == Some("idempotency_error") =>
            {
                match look(record, maker).await? {
                    Some(id) => Ok(Ended::Made(id)),
                    None if age > SETTLED => Ok(nothing_now()),
                    // The request that came first under the key may still be under way.
                    None => Err(CommandError::in_progress()),
                }
            }
            // Whatever the refusal is, it says nothing of what was asked before, by somebody else
            // or by an earlier try of this request: the key, its rights, or what Stripe takes may
            // have changed since.
            Err(ApiError::Refused(refusal)) if asked == Asked::Perhaps || refusal.in_doubt => {
                refused_in_doubt(record, asked, age, maker, refusal).await
            }
            Err(ApiError::Refused(refusal)) => {
                warn!(%refusal, "Stripe refused what a command asked for");
                Ok(Ended::Nothing(maker.refused(record, refusal)))
            }
            // It is not to be made after its caller has gone.
            Err(ApiError::TooLate) if asked == Asked::Never => Ok(Ended::Unasked),
            Err(
                error @ (ApiError::RateLimited(_)
                | ApiError::NoAnswer(_)
                | ApiError::TooLong(_)
                | ApiError::TooLate),
            ) => Err(error.into()),
        }
    }
}

/// By what an object that an attempt makes is known in Stripe's lists.
pub(super) fn new_mark() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// What a refusal means where the request had been sent before.
async fn refused_in_doubt(
    record: &Record,
    asked: Asked,
    age: Duration,
    maker: &impl Maker,
    refusal: Refusal,
) -> Result<Ended, CommandError> {
    warn!(%refusal, "Stripe refuses to go on with what a command asked for");
    let found = look(record, maker).await;
    // The account has left. Nobody was told of what may have been made on it.
    let has_left = refusal.has_code("account_invalid");
    let refused = maker.refused(record, refusal);
    match found {
        Ok(Some(id)) => Ok(Ended::Made(id)),
        Ok(None) if age > SETTLED => Ok(Ended::Nothing(refused)),
        Err(_) if has_left && age > SETTLED => Ok(Ended::Nothing(refused)),
        // What is wrong with a request that somebody else began is not the caller's.
        Ok(None) | Err(_) if asked == Asked::Perhaps && refused.code == STRIPE_REFUSED => {
            Err(CommandError::in_progress())
        }
        Ok(None) | Err(_) => Err(refused),
    }
}

/// Why an attempt made nothing.
pub(super) enum Failed {
    /// It ended: nothing was made.
    Ended(CommandError),
    /// It is still in progress.
    Open(CommandError),
}

/// Whether Stripe keeps the failure under the idempotency key, so that nothing is made under it
/// any more: it says so by giving the answer once more. One that is new may be of a request that
/// did not get as far as the key, while another caller's request under the key is carried out.
/// The second version of the API does what failed when it is asked again.
fn is_kept(record: &Record, error: &ApiError) -> bool {
    let is_first_version = ApiFamily::of(&record.api) == ApiFamily::V1;
    let is_replayed = matches!(
        error,
        ApiError::Failed {
            is_replayed: true,
            ..
        }
    );
    is_first_version && is_replayed
}

fn nothing_now() -> Ended {
    Ended::Nothing(CommandError::stripe_unavailable())
}
