//! The admin listener's server.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at once: scrapers, probes and a few people.
const MAX_CONNECTIONS: usize = 64;
/// The longest body that a page may be sent, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// How long a request's head, or its body, may take to arrive.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take; a page may ask the database.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause after a failed accept, which is mostly "too many open files".
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Ready = dyn Fn() -> Boxed<Result<(), String>> + Send + Sync;
type Page = dyn Fn(Request<Bytes>) -> Boxed<Option<Response<Bytes>>> + Send + Sync;

/// What the admin listener answers.
#[derive(Clone)]
pub struct Admin {
    registry: Arc<Registry>,
    ready: Arc<Ready>,
    page: Option<Arc<Page>>,
}

impl Admin {
    /// `/healthz` (200 while the process runs), `/readyz` (200, or 503 with
    /// the short reason that `ready` gives) and `/metrics` (`registry`, in
    /// OpenMetrics text).
    pub fn new<R, F>(registry: Registry, ready: R) -> Self
    where
        R: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self {
            registry: Arc::new(registry),
            ready: Arc::new(move || Box::pin(ready())),
            page: None,
        }
    }

    /// Adds pages: what is none of the three paths goes to `page`, which
    /// gives `None` where there is nothing (404).
    #[must_use]
    pub fn with_pages<P, F>(mut self, page: P) -> Self
    where
        P: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
        F: Future<Output = Option<Response<Bytes>>> + Send + 'static,
    {
        self.page = Some(Arc::new(move |request| Box::pin(page(request))));
        self
    }

    /// Serves until `shutdown`, then finishes what is in flight.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = shutdown.cancelled() => break,
            };
            let stream = match accepted {
                Ok((stream, _peer)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "admin listener cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Beyond the limit a connection is closed unanswered.
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                continue;
            };
            let connection = self.clone().connection(stream, shutdown.clone());
            connections.spawn(async move {
                connection.await;
                drop(permit);
            });
        }
        connections.close();
        connections.wait().await;
    }

    async fn connection(self, stream: TcpStream, shutdown: CancellationToken) {
        let service = service_fn(move |request| {
            let admin = self.clone();
            async move { Ok::<_, Infallible>(admin.within_time(request).await.map(Full::new)) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(READ_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        // A broken connection concerns its client alone.
        let _broken = tokio::select! {
            ended = connection.as_mut() => ended,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
    }

    async fn within_time(self, request: Request<Incoming>) -> Response<Bytes> {
        match tokio::time::timeout(ANSWER_TIMEOUT, self.answer(request)).await {
            Ok(response) => response,
            Err(_elapsed) => plain(StatusCode::GATEWAY_TIMEOUT, "took too long\n"),
        }
    }

    async fn answer(self, request: Request<Incoming>) -> Response<Bytes> {
        let readable = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/healthz" | "/readyz" | "/metrics" if !readable => {
                plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n")
            }
            "/healthz" => plain(StatusCode::OK, "ok\n"),
            "/readyz" => match (self.ready)().await {
                Ok(()) => plain(StatusCode::OK, "ready\n"),
                Err(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
            },
            "/metrics" => self.metrics(),
            _ => self.page(request).await,
        }
    }

    fn metrics(&self) -> Response<Bytes> {
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            Ok(()) => answer(StatusCode::OK, OPEN_METRICS, text),
            Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "cannot encode\n"),
        }
    }

    async fn page(&self, request: Request<Incoming>) -> Response<Bytes> {
        let Some(page) = &self.page else {
            return plain(StatusCode::NOT_FOUND, "not found\n");
        };
        let (head, body) = request.into_parts();
        let read = Limited::new(body, MAX_BODY).collect();
        let body = match tokio::time::timeout(READ_TIMEOUT, read).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => return plain(StatusCode::PAYLOAD_TOO_LARGE, "body not readable\n"),
            Err(_elapsed) => return plain(StatusCode::REQUEST_TIMEOUT, "too slow\n"),
        };
        let answered = page(Request::from_parts(head, body)).await;
        answered.unwrap_or_else(|| plain(StatusCode::NOT_FOUND, "not found\n"))
    }
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Bytes> {
    answer(status, TEXT, text)
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
