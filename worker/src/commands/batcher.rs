//! Does together what many ask for meanwhile.

use std::{fmt::Debug, future::Future, panic::AssertUnwindSafe};

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tracing::error;

/// The most that is done together, and that waits besides. Whoever asks for more waits for his
/// turn behind them, within his own time.
const MOST: usize = 100;

/// Where many ask for one kind of thing.
#[derive(Debug)]
pub(super) struct Batcher<Asked, Answer>(mpsc::Sender<(Asked, oneshot::Sender<Answer>)>);

// Not derived: what is asked for need not be cloned.
impl<Asked, Answer> Clone for Batcher<Asked, Answer> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Asked, Answer> Batcher<Asked, Answer>
where
    Asked: Send + 'static,
    Answer: Send + 'static,
{
    /// Starts to do what is asked for, until nobody can ask any more. `all` is given what has
    /// come while it did what came before, and returns an answer to each; `None` where it
    /// could not be done.
    pub(super) fn start<Work>(all: impl FnMut(Vec<Asked>) -> Work + Send + 'static) -> Self
    where
        Work: Future<Output = Option<Vec<Answer>>> + Send + 'static,
    {
        let (sender, asked) = mpsc::channel(MOST);
        tokio::spawn(work(all, asked));
        Self(sender)
    }

    /// Waits until it is done. It is done, too, where the caller does not wait that long.
    /// `None` if it could not be done, or panicked: perhaps because of what others asked for.
    pub(super) async fn ask(&self, asked: Asked) -> Option<Answer> {
        let (done, answer) = oneshot::channel();
        self.0.send((asked, done)).await.ok()?;
        answer.await.ok()
    }
}

async fn work<Asked, Answer, Work>(
    mut all: impl FnMut(Vec<Asked>) -> Work,
    mut asked: mpsc::Receiver<(Asked, oneshot::Sender<Answer>)>,
) where
    Work: Future<Output = Option<Vec<Answer>>>,
{
    let mut together = Vec::new();
    while asked.recv_many(&mut together, MOST).await > 0 {
        let (asked, callers): (Vec<_>, Vec<_>) = together.drain(..).unzip();
        match AssertUnwindSafe(all(asked)).catch_unwind().await {
            Ok(Some(answers)) => {
                for (caller, answer) in callers.into_iter().zip(answers) {
                    // It may not wait any more.
                    let _gone = caller.send(answer);
                }
            }
            // Those who asked hear that it was not done.
            Ok(None) => {}
            Err(_) => error!(asked = callers.len(), "what commands asked for panicked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_failed_is_told_to_those_who_asked_and_the_next_are_served() {
        let doubled = Batcher::start(|numbers: Vec<u32>| async move {
            assert!(!numbers.contains(&13), "thirteen");
            let doubled = numbers.iter().map(|number| number.checked_mul(2));
            doubled.collect()
        });
        assert_eq!(doubled.ask(13).await, None);
        assert_eq!(doubled.ask(u32::MAX).await, None);
        assert_eq!(doubled.ask(4).await, Some(8));
    }
}
