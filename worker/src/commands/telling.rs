//! Has what Stripe answered to commands taken in: the pipeline takes a Checkout Session, as
//! if an event had told of it; an account is kept as the job keeps it that reads accounts.
//!
//! Each of their transactions waits for the writers' lock. A hundred commands that waited for
//! it one after another would keep events waiting as often, and the other commands without a
//! connection, so what is told meanwhile is taken in together. Where that fails each command
//! tries alone, within its own time: what is in the way of one must not hold up the others.

use std::{slice, sync::Arc};

use domain::outcome::Decision;
use store::{Pool, outbox::Outbox};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{batcher::Batcher, error::CommandError};
use crate::{
    jobs::read_accounts::{self, ReadAccount},
    pipeline::{
        delivery::Delivery,
        executor::{BatchExecutor, Disposition},
    },
};

/// The most commands that try alone at a time, so that events keep most connections.
const ALONE: usize = 4;

/// Where commands tell what Stripe answered.
#[derive(Clone, Debug)]
pub struct Telling {
    executor: BatchExecutor,
    deliveries: Batcher<Delivery, Decision>,
    pool: Pool,
    outbox: Outbox,
    accounts: Batcher<ReadAccount, ()>,
    alone: Arc<Semaphore>,
}

/// What was told is not taken in: the pipeline panics over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotTaken;

impl Telling {
    /// Starts to take in what is told, until nobody can tell anything any more. Accounts need
    /// a connection of the pool; the executor has its own.
    pub fn start(executor: BatchExecutor, pool: Pool, outbox: Outbox) -> Self {
        Self {
            executor: executor.clone(),
            deliveries: Batcher::start(move |deliveries: Vec<Delivery>| {
                let executor = executor.clone();
                async move {
                    let tried = executor.try_batch(&deliveries).await?;
                    tried.inspect_err(not_together).ok()
                }
            }),
            pool: pool.clone(),
            outbox,
            accounts: Batcher::start(move |read: Vec<ReadAccount>| {
                let pool = pool.clone();
                async move {
                    let kept = read_accounts::keep(&pool, &read, outbox).await;
                    kept.inspect_err(not_together).ok()?;
                    Some(vec![(); read.len()])
                }
            }),
            alone: Arc::new(Semaphore::new(ALONE)),
        }
    }

    /// Waits until the pipeline has taken it in. It may be taken in, too, where the caller does
    /// not wait that long.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub async fn tell(&self, delivery: Delivery) -> Result<Decision, NotTaken> {
        if let Some(decision) = self.deliveries.ask(delivery.clone()).await {
            return Ok(decision);
        }
        let _alone = self.alone.acquire().await;
        let never = CancellationToken::new();
        let executed = self.executor.execute(slice::from_ref(&delivery), &never);
        match executed.await.ok().and_then(|mut one| one.pop()) {
            Some(Disposition::Ack(decision)) => Ok(decision),
            Some(Disposition::Requeue) | None => {
                warn!("the pipeline panicked over what a command told it");
                Err(NotTaken)
            }
        }
    }

    /// Waits until what Stripe said of an account is kept. It may be kept, too, where the
    /// caller does not wait that long.
    ///
    /// # Errors
    /// The database is away, or somebody holds the account's row.
    pub async fn tell_account(&self, read: ReadAccount) -> Result<(), CommandError> {
        if let Some(()) = self.accounts.ask(read.clone()).await {
            return Ok(());
        }
        let _alone = self.alone.acquire().await;
        let kept = read_accounts::keep(&self.pool, slice::from_ref(&read), self.outbox).await;
        Ok(kept?)
    }
}

fn not_together(error: &store::Error) {
    info!(reason = %store::in_log(error), "what commands told did not commit together");
}
