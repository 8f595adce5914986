//! Resolves accounts whose last snapshot the events cannot tell, by asking Stripe.
//!
//! What Stripe says is kept only if, once this writer has the lock, the same snapshots
//! are still tied: then it is newer than all of them, and no event was applied in between.
//! So no lock is held while Stripe is asked.

use std::{collections::BTreeSet, time::Duration};

use chrono::DateTime;
use domain::{account::Account, ids::AccountId, working_set::WorkingSet};
use prometheus_client::metrics::counter::Counter;
use shared::clock;
use store::{
    Connection, Error, Pool, account,
    main_app::booking::Bookings,
    working_set::{self, Tables},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    jobs::{Job, JobError},
    stripe::client::{Client, ClientError},
};

/// The job.
#[derive(Debug)]
pub struct ResolveAccountTies {
    /// The database.
    pub pool: Pool,
    /// Stripe's API.
    pub client: Client,
    /// Counts the accounts that were resolved.
    pub resolved: Counter,
}

/// Why an account stays tied.
#[derive(Debug, thiserror::Error)]
pub enum TieError {
    /// The database.
    #[error("the database")]
    Database(#[from] Error),
    /// Stripe.
    #[error("Stripe's API")]
    Client(#[from] ClientError),
}

impl Job for ResolveAccountTies {
    const NAME: &'static str = "resolve_account_ties";
    const EVERY: Duration = Duration::from_secs(1);

    async fn run_once(&mut self, _: &CancellationToken) -> Result<(), JobError> {
        Ok(self.resolve_all().await?)
    }
}

impl ResolveAccountTies {
    /// Resolves every account that is tied now.
    ///
    /// # Errors
    /// The first [`TieError`]; the accounts after it were tried as well.
    pub async fn resolve_all(&self) -> Result<(), TieError> {
        let (mut after, mut first_error) = (String::new(), Ok(()));
        loop {
            let next = {
                let conn = self.pool.get().await.map_err(Error::from)?;
                account::next_tied(&conn, &after).await?
            };
            let Some(id) = next else {
                return first_error;
            };
            match self.resolve(&id).await {
                Ok(()) => {
                    self.resolved.inc();
                    info!(
                        account = id.as_str(),
                        "its last snapshot was read from Stripe's API"
                    );
                }
                Err(error) if first_error.is_ok() => first_error = Err(error),
                Err(_) => {}
            }
            after = id.to_string();
        }
    }

    async fn resolve(&self, id: &AccountId) -> Result<(), TieError> {
        let mut conn = self.pool.get().await.map_err(Error::from)?;
        let asked = load(&conn, id).await?;
        let asked: Account = asked.accounts.get(id).cloned().unwrap_or_default();
        let snapshot = self.client.account(id).await?;
        store::write(&mut conn, async |tx| {
            let mut set = load(tx, id).await?;
            let _ = set.resolve_tie(id, &asked, snapshot);
            let now = DateTime::from_timestamp_millis(clock::now_unix_millis()).unwrap_or_default();
            let projection = set.project();
            let changes = set.changes(&projection, &BTreeSet::new());
            working_set::save(tx, &changes).await?;
            working_set::project(tx, &changes, now).await
        })
        .await?;
        Ok(())
    }
}

async fn load(conn: &Connection, id: &AccountId) -> store::Result<WorkingSet> {
    let bookings = Bookings {
        are_here: false,
        owner_query: None,
        are_blocked: false,
    };
    let mut set = WorkingSet::for_account(id);
    set.load(&Tables::new(conn, bookings)).await?;
    Ok(set)
}
