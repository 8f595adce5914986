//! Making a host's account, once, whoever is killed and whatever is sent twice.
//!
//! What Stripe is asked is noted before it is asked, with an idempotency key. Whoever finds
//! an attempt in progress asks once more under that key, with the same parameters: then
//! Stripe does it now, or answers what it answered before. Only where it is known that
//! nothing was made does another attempt begin, under another key.

use std::time::Duration;

use domain::ids::AccountId;
use shared::clock;
use store::command::{self, Attempt, Record, State};
use tracing::{info, warn};

use super::{
    account_request,
    known::{self, Known},
    onboard::Onboard,
};
use crate::{
    commands::{error::CommandError, service::CommandService},
    jobs::read_accounts,
    stripe::{
        call::{ApiFamily, IdempotencyKey},
        client::Client,
        error::ApiError,
    },
};

/// For how long Stripe keeps an idempotency key at least; its version 2 keeps it longer.
const KEY_LASTS: Duration = Duration::from_secs(23 * 3600);
/// By how much Stripe's clock may differ from the database's, in seconds.
const CLOCKS_DIFFER: i64 = 300;
/// The most attempts of one command.
const MOST_ATTEMPTS: u32 = 3;

/// How an attempt ended.
enum Ended {
    /// The account was made.
    Made(AccountId),
    /// Nothing was made, for this reason.
    Nothing(CommandError),
}

impl CommandService {
    /// Makes the account of a host who has none.
    pub(super) async fn create(
        &self,
        client: &Client,
        onboard: &Onboard,
    ) -> Result<Known, CommandError> {
        let (key, hash) = (known::key(&onboard.host), onboard.payload_hash());
        let request = account_request::parameters(onboard, &self.settings)?;
        let api = self.settings.accounts_api.family();
        for _ in 0..MOST_ATTEMPTS {
            let idempotency_key = new_key();
            let attempt = Attempt {
                key: &key,
                idempotency_key: &idempotency_key,
                payload_hash: &hash,
                api: api.as_str(),
                request: &request,
            };
            let record = self.begin(&attempt).await?;
            let ended = match record.state() {
                State::Done => return self.made(&record).await,
                // Somebody else's attempt ended just now.
                State::Failed => continue,
                State::InProgress => self.attempt(client, &onboard.host, &record).await?,
            };
            let conn = self.connection().await?;
            match ended {
                Ended::Made(id) => {
                    command::finish(&conn, &key, record.attempt, id.as_str()).await?;
                    info!(account = id.as_str(), "a host's account was made");
                    let record = command::find(&conn, &key).await?.unwrap_or(record);
                    drop(conn);
                    return self.made(&record).await;
                }
                Ended::Nothing(error) => {
                    command::fail(&conn, &key, record.attempt, error.code).await?;
                    // Another caller's payload was refused, or Stripe failed: ours is tried.
                    if record.payload_hash == hash && !error.retryable {
                        return Err(error);
                    }
                }
            }
        }
        Err(CommandError::stripe_unavailable())
    }

    /// Begins an attempt, or another one behind one that ended without an account. Gives back
    /// the attempt that counts now.
    async fn begin(&self, attempt: &Attempt<'_>) -> Result<Record, CommandError> {
        let conn = self.connection().await?;
        command::begin(&conn, attempt).await?;
        let find = async || -> Result<Record, CommandError> {
            let record = command::find(&conn, attempt.key).await?;
            record.ok_or_else(CommandError::in_progress)
        };
        let record = find().await?;
        // An account that is done and yet not known of is one that its host has left.
        let is_over = match record.state() {
            State::Failed => true,
            State::InProgress => false,
            State::Done => self.is_left(&conn, &record).await?,
        };
        if !is_over {
            return Ok(record);
        }
        command::begin_again(&conn, record.attempt, attempt).await?;
        find().await
    }

    async fn is_left(
        &self,
        conn: &store::Connection,
        record: &Record,
    ) -> Result<bool, CommandError> {
        let Some(id) = &record.object_id else {
            return Ok(false);
        };
        let (account, _) = read_accounts::load(conn, &id.clone().into()).await?;
        Ok(account.is_disconnected())
    }

    async fn made(&self, record: &Record) -> Result<Known, CommandError> {
        let id = record
            .object_id
            .clone()
            .ok_or_else(CommandError::internal)?;
        let id = AccountId::from(id);
        let conn = self.connection().await?;
        let (account, _) = read_accounts::load(&conn, &id).await?;
        let (family, hash) = (known::family(record), record.payload_hash.clone());
        Ok(Known::new(id, family, hash, account))
    }

    /// Asks Stripe for the account of an attempt in progress, which may be another caller's.
    /// An error leaves it in progress.
    async fn attempt(
        &self,
        client: &Client,
        host: &str,
        record: &Record,
    ) -> Result<Ended, CommandError> {
        let age = clock::now_utc() - record.attempted_at;
        if age.to_std().is_ok_and(|age| age > KEY_LASTS) {
            return self.look(client, host, record).await;
        }
        let request = record.request.clone().ok_or_else(CommandError::internal)?;
        let key = IdempotencyKey(record.idempotency_key.clone());
        let family = known::family(record);
        match client.create_account(family, request, key).await {
            Ok(id) => Ok(Ended::Made(id)),
            // The key keeps this answer, so Stripe is asked for the account itself.
            Err(ApiError::Failed { .. } | ApiError::Unreadable(_)) => {
                self.look(client, host, record).await
            }
            Err(ApiError::Refused(refusal)) if refusal.status == 409 => {
                Err(CommandError::in_progress())
            }
            Err(ApiError::Refused(refusal))
                if refusal.kind.as_deref() == Some("idempotency_error") =>
            {
                self.look(client, host, record).await
            }
            Err(ApiError::Refused(refusal)) => {
                warn!(%refusal, "Stripe refused to make a host's account");
                let is_missing = family == ApiFamily::V2 && matches!(refusal.status, 403 | 404);
                let is_off = refusal.has_code("accounts_v2_access_blocked");
                Ok(Ended::Nothing(match is_missing || is_off {
                    true => no_v2(),
                    false => ApiError::Refused(refusal).into(),
                }))
            }
            Err(error @ (ApiError::RateLimited(_) | ApiError::NoAnswer(_))) => Err(error.into()),
        }
    }

    /// Looks at Stripe whether an attempt made the account.
    async fn look(
        &self,
        client: &Client,
        host: &str,
        record: &Record,
    ) -> Result<Ended, CommandError> {
        let since = record.attempted_at.timestamp() - CLOCKS_DIFFER;
        Ok(match client.find_account(host, since).await? {
            Some(id) => Ended::Made(id),
            None => Ended::Nothing(CommandError::stripe_unavailable()),
        })
    }
}

fn no_v2() -> CommandError {
    CommandError::new(
        "accounts_v2_unavailable",
        "this platform may not make accounts by Stripe's version 2: set STRIPE_ACCOUNTS_API=v1",
    )
}

fn new_key() -> String {
    format!("dialoom-{:032x}", fastrand::u128(..))
}
