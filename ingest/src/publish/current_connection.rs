//! The current broker connection. The supervisor sets it, and publishers watch it.
//!
//! A publisher that finds none does not wait for the supervisor's next attempt but
//! requests a connection. A publisher that finds a dead connection
//! aborts it, so that the supervisor replaces it for all publishers.

use std::sync::Arc;
use tokio::sync::{Notify, watch};

/// A connection that can be the current one.
pub(super) trait Abort {
    /// Whether messages can still be published on the connection.
    fn is_alive(&self) -> bool;
    /// Ends the connection at once. The supervisor notices that.
    fn abort(&self);
}

#[derive(Debug)]
enum State<C> {
    /// There is no connection, for this reason.
    Disconnected(Arc<str>),
    Connected(Arc<C>),
}

/// The supervisor's end.
#[derive(Debug)]
pub(super) struct ConnectionSender<C> {
    state: watch::Sender<State<C>>,
    requests: Arc<Notify>,
}

/// A publisher's end.
#[derive(Debug)]
pub(super) struct ConnectionWatch<C> {
    state: watch::Receiver<State<C>>,
    requests: Arc<Notify>,
}

/// Returns the two ends. There is no connection yet.
pub(super) fn current_connection<C>() -> (ConnectionSender<C>, ConnectionWatch<C>) {
    let disconnected = State::Disconnected("not connected to the broker yet".into());
    let (sender, receiver) = watch::channel(disconnected);
    let requests = Arc::new(Notify::new());
    let watch = ConnectionWatch {
        state: receiver,
        requests: Arc::clone(&requests),
    };
    let sender = ConnectionSender {
        state: sender,
        requests,
    };
    (sender, watch)
}

impl<C> ConnectionSender<C> {
    /// Sets the current connection.
    pub(super) fn connected(&self, connection: Arc<C>) {
        self.state.send_replace(State::Connected(connection));
    }

    /// Takes the connection away, or replaces the reason why there is none.
    pub(super) fn disconnected(&self, reason: &str) {
        self.state.send_replace(State::Disconnected(reason.into()));
    }

    /// Waits until a publisher requests a connection. A request that came before
    /// this call counts, too.
    pub(super) async fn requested(&self) {
        self.requests.notified().await;
    }
}

impl<C: Abort> ConnectionWatch<C> {
    /// Returns the current connection if messages can be published on it.
    pub(super) fn current(&self) -> Option<Arc<C>> {
        match &*self.state.borrow() {
            State::Connected(connection) if connection.is_alive() => Some(Arc::clone(connection)),
            State::Connected(dead) => {
                // The supervisor may not have noticed yet.
                dead.abort();
                None
            }
            State::Disconnected(_) => None,
        }
    }

    /// Requests a connection and waits for it. If the new connection is dead
    /// already, it is aborted and another one requested. Returns `None` once the
    /// supervisor has ended.
    pub(super) async fn request(&self) -> Option<Arc<C>> {
        let mut state = self.state.clone();
        loop {
            state.mark_unchanged();
            if let Some(connection) = self.current() {
                return Some(connection);
            }
            self.requests.notify_one();
            state.changed().await.ok()?;
        }
    }

    /// Returns what `ready` says about the current connection, or an error with
    /// the reason why there is none.
    pub(super) fn ready(&self, ready: impl Fn(&C) -> Result<(), String>) -> Result<(), String> {
        match &*self.state.borrow() {
            State::Connected(connection) => ready(connection),
            State::Disconnected(reason) => Err(reason.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Abort, ConnectionSender, ConnectionWatch, current_connection};
    use futures_util::FutureExt;
    use harness::schedules::{Task, every, turn};
    use std::rc::Rc;
    use std::sync::Arc;
    use tokio::sync::Semaphore;
    use tokio_util::sync::CancellationToken;

    /// A connection whose death nobody reports: it ends when a publisher aborts
    /// it.
    #[derive(Debug, Default)]
    struct FakeConnection {
        dead: CancellationToken,
        aborted: CancellationToken,
    }

    impl Abort for FakeConnection {
        fn is_alive(&self) -> bool {
            !self.dead.is_cancelled() && !self.aborted.is_cancelled()
        }

        fn abort(&self) {
            self.aborted.cancel();
        }
    }

    /// The supervisor without its pauses and its health checks: it connects only
    /// on request.
    async fn supervise(
        sender: ConnectionSender<FakeConnection>,
        connections: Vec<Arc<FakeConnection>>,
    ) {
        for connection in connections {
            sender.requested().await;
            sender.connected(Arc::clone(&connection));
            connection.aborted.cancelled().await;
            sender.disconnected("lost");
        }
    }

    async fn publish(watch: Rc<ConnectionWatch<FakeConnection>>, served: Rc<Semaphore>) {
        let connection = match watch.current() {
            Some(connection) => connection,
            None => watch.request().await.expect("the supervisor is there"),
        };
        assert!(connection.is_alive(), "a dead connection was given");
        served.add_permits(1);
    }

    /// Two connections, of which the first may die at any moment, and publishers
    /// that may come at any moment.
    fn make(publishers: usize) -> Vec<Task<'static>> {
        let (sender, watch) = current_connection();
        let (watch, served) = (Rc::new(watch), Rc::new(Semaphore::new(0)));
        let connections: Vec<_> = (0..2).map(|_| Arc::<FakeConnection>::default()).collect();
        let first = Arc::clone(&connections[0]);
        let mut tasks: Vec<Task<'_>> = vec![Box::pin(async move {
            turn().await;
            first.dead.cancel();
        })];
        for _ in 0..publishers {
            tasks.push(Box::pin(publish(Rc::clone(&watch), Rc::clone(&served))));
        }
        tasks.push(Box::pin(async move {
            let all = u32::try_from(publishers).unwrap();
            tokio::select! {
                biased;
                all = served.acquire_many(all) => drop(all),
                () = supervise(sender, connections) => {}
            }
        }));
        tasks
    }

    /// This supervisor connects only on request, so a lost request would leave all
    /// publishers waiting.
    #[test]
    fn every_publisher_gets_a_connection_though_one_may_die() {
        let schedules = every(|| make(3));
        println!("{schedules} schedules");
        assert!(schedules > 1000, "{schedules}");
    }

    #[test]
    fn a_connection_is_requested_once_and_only_if_there_is_none() {
        let (sender, watch) = current_connection::<FakeConnection>();
        assert!(sender.requested().now_or_never().is_none());
        assert!(watch.request().now_or_never().is_none());
        assert!(
            sender.requested().now_or_never().is_some(),
            "it was requested"
        );
        assert!(sender.requested().now_or_never().is_none(), "but once");

        sender.connected(Arc::default());
        assert!(watch.request().now_or_never().is_some());
        assert!(sender.requested().now_or_never().is_none());
    }

    #[test]
    fn readiness_is_that_of_the_connection_or_the_reason_why_there_is_none() {
        let (sender, watch) = current_connection::<FakeConnection>();
        let ready = || watch.ready(|_| Err("its channel is full".to_owned()));
        assert_eq!(ready().unwrap_err(), "not connected to the broker yet");
        sender.connected(Arc::default());
        assert_eq!(ready().unwrap_err(), "its channel is full");
        assert_eq!(watch.ready(|_| Ok(())), Ok(()));
        sender.disconnected("refused");
        assert_eq!(ready().unwrap_err(), "refused");
        assert!(watch.current().is_none());
    }
}
