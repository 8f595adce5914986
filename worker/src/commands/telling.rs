//! Has what Stripe answered to commands taken in: the pipeline takes a Checkout Session, as
//! if an event had told of it; an account is kept as the job keeps it that reads accounts.
//!
//! Each of their transactions waits for the writers' lock. A hundred commands that waited for
//! it one after another would keep events waiting as often, and the other commands without a
//! connection, so what is told meanwhile is taken in together.

use domain::outcome::Decision;
use store::{Pool, outbox::Outbox};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{error::CommandError, together::Together};
use crate::{
    jobs::read_accounts::{self, ReadAccount},
    pipeline::{
        delivery::Delivery,
        executor::{BatchExecutor, Disposition},
    },
};

/// Where commands tell what Stripe answered.
#[derive(Clone, Debug)]
pub struct Telling {
    deliveries: Together<Delivery, Disposition>,
    accounts: Together<ReadAccount, Result<(), CommandError>>,
}

/// What was told is not taken in: the pipeline has ended, or panics over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotTaken;

impl Telling {
    /// Starts to take in what is told, until nobody can tell anything any more. Accounts need
    /// one connection of the pool; the executor has its own.
    pub fn start(executor: BatchExecutor, pool: Pool, outbox: Outbox) -> Self {
        Self {
            deliveries: Together::start(move |deliveries: Vec<Delivery>| {
                let executor = executor.clone();
                async move {
                    let never = CancellationToken::new();
                    executor.execute(&deliveries, &never).await.ok()
                }
            }),
            accounts: Together::start(move |read: Vec<ReadAccount>| {
                let pool = pool.clone();
                async move {
                    let kept = read_accounts::keep(&pool, &read, outbox).await;
                    Some(vec![kept.map_err(CommandError::from); read.len()])
                }
            }),
        }
    }

    /// Waits until the pipeline has taken it in. It is taken in, too, where the caller does not
    /// wait that long.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub async fn tell(&self, delivery: Delivery) -> Result<Decision, NotTaken> {
        match self.deliveries.ask(delivery).await {
            Some(Disposition::Ack(decision)) => Ok(decision),
            Some(Disposition::Requeue) => {
                warn!("the pipeline panicked over what a command told it");
                Err(NotTaken)
            }
            None => Err(NotTaken),
        }
    }

    /// Waits until what Stripe said of an account is kept. It is kept, too, where the caller
    /// does not wait that long.
    ///
    /// # Errors
    /// The database is away, or the worker panics over it.
    pub async fn tell_account(&self, read: ReadAccount) -> Result<(), CommandError> {
        let kept = self.accounts.ask(read).await;
        kept.unwrap_or_else(|| Err(CommandError::internal()))
    }
}
