//! Reads the accounts from Stripe's API of which events cannot tell how they are: nothing
//! came of them since they connected, or their latest snapshots are tied.
//!
//! What Stripe says is kept only if, once this writer has the lock, the same is known of
//! the account as when Stripe was asked: then it is newer than all of it, and no event was
//! applied in between. So no lock is held while Stripe is asked.
//!
//! Nobody waits for these reads, so they stop where Stripe's allowance for reads is nearly used
//! up: what is left is for commands.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use domain::{
    account::Account,
    account_snapshot::AccountSnapshot,
    ids::AccountId,
    main_app::{Obstacle, ObstacleReason},
    working_set::WorkingSet,
};
use prometheus_client::metrics::counter::Counter;
use shared::clock;
use store::{
    Connection, Error, Pool, account, api_read,
    main_app::{LeftAlone, booking::Bookings},
    outbox::Outbox,
    savepoint,
    working_set::{self, Tables},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    backoff::Retry,
    jobs::{Job, JobError},
    stripe::{accounts::ReadError as ApiReadError, client::Client},
};

/// The pause before Stripe is asked once more about an account that it refused.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause. Stripe refuses for good where the host has left and the event
/// of it was lost.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// How many accounts are looked up at once.
const PAGE: i64 = 100;
/// The pause between two looks at how many reads are left.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// The job.
#[derive(Debug)]
pub struct ReadAccounts {
    pool: Pool,
    client: Client,
    /// Whether the main app is told of its rows' changes.
    pub outbox: Outbox,
    /// Counts the accounts that were read.
    read: Counter,
    /// The accounts that Stripe refused, so that they do not hold up the others.
    refused: BTreeMap<AccountId, Retry>,
    budget: Budget,
}

/// How many reads Stripe's allowance leaves, as it was last looked at.
#[derive(Debug, Default)]
struct Budget {
    looked_at: Option<Instant>,
    left: i64,
    is_used_up: bool,
}

/// Why an account could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database.
    #[error("the database")]
    Database(#[from] Error),
    /// Stripe.
    #[error("Stripe's API")]
    Client(#[from] ApiReadError),
}

impl Job for ReadAccounts {
    const NAME: &'static str = "read_accounts";
    const EVERY: Duration = Duration::from_secs(1);

    async fn run_once(&mut self, _: &CancellationToken) -> Result<(), JobError> {
        Ok(self.read_all().await?)
    }
}

impl ReadAccounts {
    /// The job, which has refused nothing yet and tells the main app nothing.
    pub fn new(pool: Pool, client: Client, read: Counter) -> Self {
        Self {
            pool,
            client,
            read,
            refused: BTreeMap::new(),
            outbox: Outbox::Off,
            budget: Budget::default(),
        }
    }

    /// Reads every account that needs it now, as far as Stripe's allowance goes. One that
    /// Stripe refused before is left out until its pause has passed.
    ///
    /// # Errors
    /// The first [`ReadError`]; the accounts after it were tried as well.
    pub async fn read_all(&mut self) -> Result<(), ReadError> {
        let (mut after, mut first_error) = (String::new(), Ok(()));
        let mut refused = BTreeMap::new();
        loop {
            let page = {
                let conn = self.pool.get().await.map_err(Error::from)?;
                account::needing_api(&conn, &after, PAGE).await?
            };
            let Some(last) = page.last() else {
                // Those that need it no more are forgotten.
                self.refused = refused;
                return first_error;
            };
            after = last.to_string();
            for id in page {
                let before = self.refused.get(&id).copied();
                if let Some(retry) = before.filter(|retry| !retry.is_due()) {
                    refused.insert(id, retry);
                    continue;
                }
                if !self.budget.take(&self.pool).await? {
                    self.refused.append(&mut refused);
                    return first_error;
                }
                match self.read(&id).await {
                    Ok(()) => {
                        self.read.inc();
                        info!(account = id.as_str(), "it was read from Stripe's API");
                    }
                    Err(error) => {
                        refused.insert(id, Retry::after(before, FIRST_PAUSE, LONGEST_PAUSE));
                        first_error = first_error.and(Err(error));
                    }
                }
            }
        }
    }

    /// Reads an account from Stripe's API and keeps what it says, where it is needed.
    async fn read(&self, id: &AccountId) -> Result<(), ReadError> {
        let read = ask(&self.pool, &self.client, id).await?;
        Ok(keep(&self.pool, &[read], self.outbox).await?)
    }
}

impl Budget {
    /// Takes one read, where one is left. The tables are looked at once a minute at most.
    async fn take(&mut self, pool: &Pool) -> store::Result<bool> {
        if self.looked_at.is_none_or(|at| at.elapsed() > ASK_AGAIN) {
            let conn = pool.get().await?;
            let reads = api_read::reads(&conn).await?;
            self.looked_at = Some(Instant::now());
            self.left = reads.room();
            let is_used_up = self.left == 0;
            if is_used_up && !self.is_used_up {
                warn!(
                    reads = reads.sent,
                    allowed = reads.allowed,
                    "Stripe's allowance for reads of 30 days is nearly used up: accounts are read \
                     for commands alone until there is room again"
                );
            } else if self.is_used_up && !is_used_up {
                info!("Stripe's allowance has room again: accounts are read");
            }
            self.is_used_up = is_used_up;
        }
        let has_room = self.left > 0;
        self.left -= i64::from(has_room);
        Ok(has_room)
    }
}

/// What Stripe says of an account, and what was known of it when Stripe was asked.
#[derive(Clone, Debug)]
pub struct ReadAccount {
    id: AccountId,
    known: Account,
    snapshot: AccountSnapshot,
}

impl ReadAccount {
    /// What Stripe's list says of an account of which nothing was known when it was asked.
    pub fn of_unknown(id: AccountId, snapshot: AccountSnapshot) -> Self {
        Self {
            id,
            known: Account::default(),
            snapshot,
        }
    }

    /// What was known of it.
    pub fn known(&self) -> &Account {
        &self.known
    }

    /// What Stripe says of it.
    pub fn snapshot(&self) -> &AccountSnapshot {
        &self.snapshot
    }
}

/// Asks Stripe how an account is. No connection is held meanwhile.
pub async fn ask(pool: &Pool, client: &Client, id: &AccountId) -> Result<ReadAccount, ReadError> {
    let known = {
        let conn = pool.get().await.map_err(Error::from)?;
        load(&conn, id).await?
    };
    Ok(ReadAccount {
        id: id.clone(),
        known,
        snapshot: client.account(id).await?,
    })
}

/// Keeps in one transaction what Stripe said of accounts, where it is still needed.
pub async fn keep(pool: &Pool, read: &[ReadAccount], outbox: Outbox) -> store::Result<()> {
    let mut kept = keep_beside(pool, read, outbox, &LeftAlone::default()).await;
    if kept.as_ref().is_err_and(Error::is_session_lost) {
        kept = keep_beside(pool, read, outbox, &LeftAlone::default()).await;
    }
    let obstacle = match kept {
        // It may be one of the rows that ended the session twice: the job that writes pending rows
        // finds which.
        Err(error) if error.is_session_lost() => {
            let said = "a transaction with this row ended its session";
            Obstacle::new(ObstacleReason::NotTried, said)
        }
        // It may be the main app that refuses the commit: its rows are pending then.
        Err(error) if !error.is_unavailable() => savepoint::obstacle(&error),
        kept => return kept,
    };
    keep_beside(pool, read, outbox, &LeftAlone::all(obstacle)).await
}

/// As [`keep`], but for the main app's tables that are left alone.
async fn keep_beside(
    pool: &Pool,
    read: &[ReadAccount],
    outbox: Outbox,
    left_alone: &LeftAlone,
) -> store::Result<()> {
    let mut conn = pool.get().await?;
    store::write(&mut conn, async |tx| {
        let mut set = WorkingSet::for_accounts(read.iter().map(|one| &one.id));
        let tables = Tables::new(tx, Bookings::default(), None);
        set.load(&tables).await?;
        for one in read {
            let _ = set.keep_api_snapshot(&one.id, &one.known, one.snapshot.clone());
        }
        let now = clock::now_utc();
        let projection = set.project();
        let mut changes = set.changes(&projection, &BTreeSet::new());
        // No booking is in the set; the news of a host is found with its row.
        changes.app.news = (outbox == Outbox::On).then(BTreeMap::new);
        tables.save(tx, &changes).await?;
        working_set::project(tx, &changes, left_alone, now).await?;
        Ok(())
    })
    .await
}

/// All that is known of an account.
pub async fn load(conn: &Connection, id: &AccountId) -> store::Result<Account> {
    let mut set = WorkingSet::for_accounts([id]);
    set.load(&Tables::new(conn, Bookings::default(), None))
        .await?;
    Ok(set.accounts.get(id).cloned().unwrap_or_default())
}
