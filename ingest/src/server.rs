//! The public listener: accepts connections, bounds them and ends them.

use crate::connection_limit::{Acquired, ConnectionLimit, ConnectionSlot};
use crate::limits::Limits;
use crate::metric_types::{GaugeGuard, counter, gauge};
use crate::webhook::{FixedResponse, Webhook};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The size of a connection's read buffer, in bytes. A request's head must fit.
const READ_BUFFER: usize = 32 * 1024;
/// The pause after a failed accept. The usual reason is "too many open files", and
/// other connections can end meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long writing the 408 response may take.
const SLOW_HEAD_TIMEOUT: Duration = Duration::from_secs(1);
/// The response to a request whose head did not arrive in time. hyper writes none.
const SLOW_HEAD: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain\r\n\
    content-length: 9\r\nconnection: close\r\n\r\ntoo slow\n";

/// The metrics of client connections.
#[derive(Debug)]
pub struct ServerMetrics {
    /// Open connections.
    connections: Gauge,
    /// Connections that were closed without a response because the limit was
    /// reached: evicted ones, and new ones for which none could be evicted.
    connections_evicted: Counter,
}

impl ServerMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        Self {
            connections: gauge(registry, "connections", "Open client connections"),
            connections_evicted: counter(
                registry,
                "connections_evicted",
                "Connections over the limit",
            ),
        }
    }
}

/// Serves the public listener.
#[derive(Debug)]
pub struct Server {
    webhook: Arc<Webhook>,
    limits: Limits,
    metrics: ServerMetrics,
    http: Builder,
}

impl Server {
    /// Makes a server that passes requests to `webhook`.
    #[must_use]
    pub fn new(webhook: Arc<Webhook>, limits: Limits, metrics: ServerMetrics) -> Self {
        let mut http = Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            // A response has some hundred bytes: writing head and body as one buffer
            // is faster than a vectored write.
            .writev(false)
            .max_buf_size(READ_BUFFER);
        Self {
            webhook,
            limits,
            metrics,
            http,
        }
    }

    /// Accepts connections until `shutdown`. Then it finishes the requests in
    /// progress within `limits.drain`.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let server = Arc::new(self);
        let limit = ConnectionLimit::new(server.limits.connections);
        let connections = TaskTracker::new();
        while let Some(stream) = server.accept(&listener, &shutdown).await {
            let acquired = limit.acquire();
            if acquired
                .as_ref()
                .is_none_or(|acquired| acquired.has_evicted)
            {
                // Either the evicted connection or the new one is closed without
                // a response: sending one would take the resources that are short.
                server.metrics.connections_evicted.inc();
            }
            let Some(Acquired { slot, .. }) = acquired else {
                continue;
            };
            let (server, shutdown) = (Arc::clone(&server), shutdown.clone());
            connections.spawn(async move { server.serve_connection(stream, slot, shutdown).await });
        }
        drop(listener);
        connections.close();
        connections.wait().await;
    }

    /// Returns the next connection, or `None` after `shutdown`. A failed accept
    /// does not end the server.
    async fn accept(
        &self,
        listener: &TcpListener,
        shutdown: &CancellationToken,
    ) -> Option<TcpStream> {
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _peer)) => return Some(stream),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve_connection(
        &self,
        stream: TcpStream,
        slot: ConnectionSlot,
        shutdown: CancellationToken,
    ) {
        let _open = GaugeGuard::new(&self.metrics.connections);
        // Responses are small and written at once, so delaying them to merge
        // segments gains nothing.
        if stream.set_nodelay(true).is_err() {
            return; // The client has closed the connection.
        }
        let (webhook, slot) = (&self.webhook, &slot);
        let service = service_fn(move |request| async move {
            let _active = slot.begin_request();
            let response = webhook.handle(request).await;
            if response.status().is_success() {
                slot.mark_verified();
            }
            Ok::<_, Infallible>(response)
        });
        let mut connection = self.http.serve_connection(TokioIo::new(stream), service);
        let ended = tokio::select! {
            ended = &mut connection => Some(ended),
            () = shutdown.cancelled() => None,
            () = slot.evicted() => return,
            () = sleep(self.limits.connection_age) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                Pin::new(&mut connection).graceful_shutdown();
                match timeout(self.limits.drain, &mut connection).await {
                    Ok(ended) => ended,
                    Err(_elapsed) => return,
                }
            }
        };
        // Any other error, such as a reset, needs no response.
        if ended.is_err_and(|error| error.is_timeout()) {
            let parts = connection.into_parts();
            self.reject_slow_head(parts.io.into_inner(), !parts.read_buf.is_empty())
                .await;
        }
    }

    /// Answers a request whose head did not arrive in time. If no byte of it did,
    /// the connection was only idle and is closed without a response.
    async fn reject_slow_head(&self, mut stream: TcpStream, has_begun: bool) {
        if !has_begun {
            return;
        }
        let metrics = self.webhook.metrics();
        metrics.count_response(FixedResponse::TooSlow);
        let response = async {
            stream.write_all(SLOW_HEAD).await?;
            stream.shutdown().await
        };
        let _client_gone = timeout(SLOW_HEAD_TIMEOUT, response).await;
    }
}
