//! Which link is the current one: the supervisor says it, publishers ask.
//!
//! A publisher that finds none does not wait for the supervisor's next try but
//! asks for it, and one that finds a dead link gives it up for everybody.

use std::sync::Arc;
use tokio::sync::{Notify, watch};

/// What can be a link.
pub(super) trait Lose {
    /// Whether it can still be published on.
    fn is_alive(&self) -> bool;
    /// Gives it up at once: whoever serves it sees that.
    fn lose(&self);
}

/// The current link, as the supervisor sees it.
#[derive(Debug)]
enum State<L> {
    /// None, and why.
    Down(Arc<str>),
    /// This one.
    Up(Arc<L>),
}

/// The supervisor's end.
#[derive(Debug)]
pub(super) struct Holder<L> {
    state: watch::Sender<State<L>>,
    nudge: Arc<Notify>,
}

/// A publisher's end.
#[derive(Debug)]
pub(super) struct Seeker<L> {
    state: watch::Receiver<State<L>>,
    nudge: Arc<Notify>,
}

/// Two ends, without a link yet.
pub(super) fn link<L>() -> (Holder<L>, Seeker<L>) {
    let down = State::Down("not connected to the broker yet".into());
    let (state, seen) = watch::channel(down);
    let nudge = Arc::new(Notify::new());
    let seeker = Seeker {
        state: seen,
        nudge: Arc::clone(&nudge),
    };
    (Holder { state, nudge }, seeker)
}

impl<L> Holder<L> {
    /// There is this link from now on.
    pub(super) fn up(&self, link: Arc<L>) {
        self.state.send_replace(State::Up(link));
    }

    /// There is no link any more, or still none.
    pub(super) fn down(&self, reason: &str) {
        self.state.send_replace(State::Down(reason.into()));
    }

    /// Waits until somebody asks for a link, which may have been before.
    pub(super) async fn nudged(&self) {
        self.nudge.notified().await;
    }
}

impl<L: Lose> Seeker<L> {
    /// The link that can be published on now.
    pub(super) fn current(&self) -> Option<Arc<L>> {
        match &*self.state.borrow() {
            State::Up(link) if link.is_alive() => Some(Arc::clone(link)),
            State::Up(dead) => {
                // The supervisor need not wait until it sees for itself.
                dead.lose();
                None
            }
            State::Down(_) => None,
        }
    }

    /// Asks for a link and waits until there is one. One that is dead when it
    /// comes is given up like any other, and the next one asked for.
    pub(super) async fn next(&self) -> Option<Arc<L>> {
        let mut state = self.state.clone();
        loop {
            state.mark_unchanged();
            if let Some(link) = self.current() {
                return Some(link);
            }
            self.nudge.notify_one();
            // An error is the supervisor's end.
            state.changed().await.ok()?;
        }
    }

    /// What `ready` says of the link, or why there is none.
    pub(super) fn ready(&self, ready: impl Fn(&L) -> Result<(), String>) -> Result<(), String> {
        match &*self.state.borrow() {
            State::Up(link) => ready(link),
            State::Down(reason) => Err(reason.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Holder, Lose, Seeker, link};
    use futures_util::FutureExt;
    use harness::schedules::{Task, every, turn};
    use std::rc::Rc;
    use std::sync::Arc;
    use tokio::sync::Semaphore;
    use tokio_util::sync::CancellationToken;

    /// A link that dies without a word: it is lost when somebody notices.
    #[derive(Debug, Default)]
    struct Fake {
        dead: CancellationToken,
        lost: CancellationToken,
    }

    impl Lose for Fake {
        fn is_alive(&self) -> bool {
            !self.dead.is_cancelled() && !self.lost.is_cancelled()
        }

        fn lose(&self) {
            self.lost.cancel();
        }
    }

    /// The supervisor's way with its links, without its pauses and looks: here
    /// nothing happens but what somebody asks for.
    async fn supervise(holder: Holder<Fake>, links: Vec<Arc<Fake>>) {
        for link in links {
            holder.nudged().await;
            holder.up(Arc::clone(&link));
            link.lost.cancelled().await;
            holder.down("lost");
        }
    }

    async fn publish(seeker: Rc<Seeker<Fake>>, served: Rc<Semaphore>) {
        let link = match seeker.current() {
            Some(link) => link,
            None => seeker.next().await.expect("the supervisor is there"),
        };
        assert!(link.is_alive(), "a dead link was given");
        served.add_permits(1);
    }

    /// Two links of which the first dies at any moment, and publishers that
    /// come at any moment.
    fn make(publishers: usize) -> Vec<Task<'static>> {
        let (holder, seeker) = link();
        let (seeker, served) = (Rc::new(seeker), Rc::new(Semaphore::new(0)));
        let links: Vec<_> = (0..2).map(|_| Arc::<Fake>::default()).collect();
        let first = Arc::clone(&links[0]);
        let mut tasks: Vec<Task<'_>> = vec![Box::pin(async move {
            turn().await;
            first.dead.cancel();
        })];
        for _ in 0..publishers {
            tasks.push(Box::pin(publish(Rc::clone(&seeker), Rc::clone(&served))));
        }
        tasks.push(Box::pin(async move {
            let all = u32::try_from(publishers).unwrap();
            tokio::select! {
                biased;
                all = served.acquire_many(all) => drop(all),
                () = supervise(holder, links) => {}
            }
        }));
        tasks
    }

    /// Nothing but the publishers' own asking brings a link back here, so a
    /// request that got lost would leave all of them waiting.
    #[test]
    fn whoever_asks_for_a_link_gets_one_though_it_may_be_lost() {
        let schedules = every(|| make(3));
        println!("{schedules} schedules");
        assert!(schedules > 1000, "{schedules}");
    }

    #[test]
    fn nobody_is_asked_for_a_link_without_need() {
        let (holder, seeker) = link::<Fake>();
        assert!(holder.nudged().now_or_never().is_none());
        assert!(seeker.next().now_or_never().is_none());
        assert!(holder.nudged().now_or_never().is_some(), "it was asked");
        assert!(holder.nudged().now_or_never().is_none(), "but once");

        holder.up(Arc::default());
        assert!(seeker.next().now_or_never().is_some());
        assert!(holder.nudged().now_or_never().is_none());
    }

    #[test]
    fn readiness_is_what_the_link_says_or_why_there_is_none() {
        let (holder, seeker) = link::<Fake>();
        let ready = || seeker.ready(|_| Err("its channel is full".to_owned()));
        assert_eq!(ready().unwrap_err(), "not connected to the broker yet");
        holder.up(Arc::default());
        assert_eq!(ready().unwrap_err(), "its channel is full");
        assert_eq!(seeker.ready(|_| Ok(())), Ok(()));
        holder.down("refused");
        assert_eq!(ready().unwrap_err(), "refused");
        assert!(seeker.current().is_none());
    }
}
