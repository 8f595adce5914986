//! The server, and what a test asks of it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::{
    events::QueuedEvent,
    faults::Fault,
    handle::{ACCEPT_PAUSE, Closed, Shared, answer},
    options::Options,
    recorded::Recorded,
};

/// Bound for requests to arrive: longer than a client waits before it tries again.
const ARRIVAL_BOUND: Duration = Duration::from_secs(60);

/// A stand-in for Stripe. It ends when this value goes.
#[derive(Debug)]
pub struct StandIn {
    pub(super) shared: Arc<Shared>,
    base_url: String,
    ended: CancellationToken,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

impl StandIn {
    /// Starts it on a free port, in the current runtime.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(options: Options) -> Result<Self> {
        Self::start_on(options, 0).await
    }

    /// Starts it on this port.
    ///
    /// # Errors
    /// When somebody else has the port.
    pub async fn start_on(options: Options, port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener.with_context(|| format!("port {port} of the stand-in"))?;
        let base_url = format!("http://{}/", listener.local_addr()?);
        let shared = Arc::new(Shared::new(options));
        let ended = CancellationToken::new();
        let serving = serve(listener, Arc::clone(&shared), ended.clone());
        tokio::spawn(ended.clone().run_until_cancelled_owned(serving));
        Ok(Self {
            shared,
            base_url,
            ended,
        })
    }

    /// Runs a task that ends with the stand-in.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.ended.clone().run_until_cancelled_owned(task));
    }

    /// Its address, with a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Breaks the next requests that the fault is about. Faults wait in the order
    /// in which they came.
    pub fn fault(&self, fault: Fault) {
        self.shared.state().faults.push(fault);
    }

    /// Takes back all faults that did not happen yet.
    pub fn clear_faults(&self) {
        self.shared.state().faults.clear();
    }

    /// All requests so far, in the order in which they arrived.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.state().requests.clone()
    }

    /// Forgets the requests so far. Call it while none is under way.
    pub fn forget_requests(&self) {
        self.shared.state().requests.clear();
    }

    /// Waits until `count` requests have arrived that `matches` is true of, and
    /// gives them.
    ///
    /// # Errors
    /// When they do not arrive within a minute; the error says what did.
    pub async fn wait_for_requests(
        &self,
        count: usize,
        matches: impl Fn(&Recorded) -> bool,
    ) -> Result<Vec<Recorded>> {
        let wait = async {
            loop {
                let changed = self.shared.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                let mut requests = self.requests();
                requests.retain(|request| matches(request));
                if requests.len() >= count {
                    return requests;
                }
                changed.await;
            }
        };
        tokio::time::timeout(ARRIVAL_BOUND, wait)
            .await
            .with_context(|| {
                let seen: Vec<String> = self.requests().iter().map(short).collect();
                format!("{count} requests did not arrive; seen: {seen:?}")
            })
    }

    /// Puts the stand-in's clock forward. Sessions whose time is over expire.
    pub fn advance(&self, time: Duration) {
        let mut state = self.shared.state();
        state.skew += i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        state.expire_what_is_over();
    }

    /// Takes the events that were not delivered, in the order in which they were made.
    #[must_use]
    pub fn take_events(&self) -> Vec<QueuedEvent> {
        std::mem::take(&mut self.shared.state().queued)
    }

    /// All objects of a kind (such as `invoice`) of an account, the newest first;
    /// those of the platform under an empty account.
    #[must_use]
    pub fn objects(&self, account: &str, kind: &'static str) -> Vec<Value> {
        let state = self.shared.state();
        state.newest_first(account, kind).cloned().collect()
    }
}

fn short(request: &Recorded) -> String {
    let status = request
        .status
        .map_or_else(|| "-".to_owned(), |status| status.to_string());
    format!("{} {} {status}", request.method, request.path)
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, ended: CancellationToken) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = connection(stream, Arc::clone(&shared), ended.clone());
                tokio::spawn(ended.clone().run_until_cancelled_owned(connection));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, ended: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        // A task of its own: a client that goes away does not undo its request.
        let task = tokio::spawn(
            ended
                .clone()
                .run_until_cancelled_owned(answer(shared, request)),
        );
        async move { task.await.ok().flatten().unwrap_or(Err(Closed)) }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // Clients close connections when they like, and faults close some as well.
    let _ = served.await;
}
