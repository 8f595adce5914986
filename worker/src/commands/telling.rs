//! Has the pipeline take in what commands say that Stripe answered.
//!
//! Each transaction of the pipeline waits for the writers' lock. A hundred commands that waited
//! for it one after another would keep events waiting as often, so what is told meanwhile is
//! taken in together.

use domain::outcome::Decision;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::pipeline::{
    delivery::Delivery,
    executor::{BatchExecutor, Disposition},
};

/// The most that is taken in together, and that waits besides. A command waits for its turn
/// behind them, within its own time.
const MAX_TOGETHER: usize = 100;

/// Where commands tell the pipeline something.
#[derive(Clone, Debug)]
pub struct Telling(mpsc::Sender<Told>);

/// What one command tells.
#[derive(Debug)]
struct Told {
    delivery: Delivery,
    done: oneshot::Sender<Disposition>,
}

/// What was told is not taken in: the pipeline has ended, or panics over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotTaken;

impl Telling {
    /// Starts to take in what is told, until nobody can tell anything any more.
    pub fn start(executor: BatchExecutor) -> Self {
        let (sender, told) = mpsc::channel(MAX_TOGETHER);
        tokio::spawn(take_in(executor, told));
        Self(sender)
    }

    /// Waits until the pipeline has taken it in. It is taken in, too, where the caller does not
    /// wait that long.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub async fn tell(&self, delivery: Delivery) -> Result<Decision, NotTaken> {
        let (done, disposition) = oneshot::channel();
        let told = Told { delivery, done };
        self.0.send(told).await.map_err(|_| NotTaken)?;
        match disposition.await {
            Ok(Disposition::Ack(decision)) => Ok(decision),
            Ok(Disposition::Requeue) | Err(_) => Err(NotTaken),
        }
    }
}

async fn take_in(executor: BatchExecutor, mut told: mpsc::Receiver<Told>) {
    let never = CancellationToken::new();
    let mut together = Vec::new();
    while told.recv_many(&mut together, MAX_TOGETHER).await > 0 {
        let (deliveries, callers): (Vec<_>, Vec<_>) = together
            .drain(..)
            .map(|one| (one.delivery, one.done))
            .unzip();
        let Ok(dispositions) = executor.execute(&deliveries, &never).await else {
            return;
        };
        for (caller, disposition) in callers.into_iter().zip(dispositions) {
            if disposition == Disposition::Requeue {
                warn!("the pipeline panicked over what a command told it");
            }
            // It may not wait any more.
            let _gone = caller.send(disposition);
        }
    }
}
