//! A small HTTP client for loopback: one request, one connection.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Method, Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::{Position, Url};

/// Bound for one request: longer than `ingest` ever waits for the broker.
const BOUND: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text, for messages.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Delivers an event to `ingest` as Stripe does. `base` is its address, such as
/// `http://127.0.0.1:8080`; `signature` comes from [`crate::stripe::sign`].
///
/// # Errors
/// When no answer comes.
pub async fn post_event(base: &str, signature: &str, body: impl Into<Bytes>) -> Result<Answer> {
    let url = format!("{}/webhooks/stripe", base.trim_end_matches('/'));
    let headers = [
        ("content-type", "application/json; charset=utf-8"),
        ("stripe-signature", signature),
    ];
    send(Method::POST, &url, &headers, body).await
}

/// Gets a page.
///
/// # Errors
/// When no answer comes.
pub async fn get(url: &str) -> Result<Answer> {
    send(Method::GET, url, &[], Bytes::new()).await
}

/// Sends one request.
///
/// # Errors
/// When the address is not an `http` one or no answer comes within a minute.
pub async fn send(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Answer> {
    let body = body.into();
    tokio::time::timeout(BOUND, exchange(method, url, headers, body))
        .await
        .with_context(|| format!("{url}: no answer after {} s", BOUND.as_secs()))?
        .with_context(|| url.to_owned())
}

async fn exchange(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<Answer> {
    let url = Url::parse(url)?;
    ensure!(url.scheme() == "http", "only http:// is spoken here");
    let host = url.host_str().context("no host")?;
    let port = url.port_or_known_default().context("no port")?;
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(&url[Position::BeforePath..Position::AfterQuery])
        .header(header::HOST, format!("{host}:{port}"))
        .header(
            header::USER_AGENT,
            "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        );
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (head, body) = sender
        .send_request(request.body(Full::new(body))?)
        .await?
        .into_parts();
    let body = body.collect().await?.to_bytes();
    connection.abort();
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body,
    })
}
