//! The client of Stripe's API: one pool of connections for both versions.
//!
//! async-stripe's own client opens a connection for each request, pauses without jitter
//! and knows no version 2, so this one sends what async-stripe's core encodes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Request, Response,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use secrecy::ExposeSecret;
use serde_json::Value;
use store::{Pool, api_read};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{
    call::{ApiFamily, Call},
    config::{API_VERSION, ApiConfig},
    error::{ApiError, RateLimit, Refusal},
    limits::Limits,
    retry::{self, Ended},
};
use crate::metrics::stripe::ApiMetrics;

/// The largest answer that is read. A page of a hundred accounts has some 600 KB.
const MAX_ANSWER: usize = 8 * 1024 * 1024;
/// Connections that are kept open between requests.
const IDLE_CONNECTIONS: usize = 16;
/// Stripe closes a connection that was idle for about a minute.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of Stripe's API.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
    /// When whoever is asked for stops waiting; `None` where nobody waits.
    deadline: Option<Instant>,
}

#[derive(Debug)]
struct Inner {
    http: HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    config: ApiConfig,
    authorization: HeaderValue,
    limits: Limits,
    metrics: ApiMetrics,
    /// Where reads are counted.
    pool: Option<Pool>,
}

/// Why there is no client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key holds what no header can")]
pub struct KeyError;

impl Client {
    /// A client; nothing is sent yet. Reads are counted in `pool`'s database.
    ///
    /// # Errors
    /// The key holds what no header can.
    pub fn new(
        config: ApiConfig,
        metrics: ApiMetrics,
        pool: Option<Pool>,
    ) -> Result<Self, KeyError> {
        shared::amqp::install_crypto();
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            // The configuration takes `http` for this machine alone.
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let http = HyperClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(connector);
        let bearer = format!("Bearer {}", config.key.expose_secret());
        let mut authorization = HeaderValue::try_from(bearer).map_err(|_| KeyError)?;
        authorization.set_sensitive(true);
        let inner = Inner {
            http,
            limits: Limits::new(&config),
            config,
            authorization,
            metrics,
            pool,
        };
        Ok(Self {
            inner: Arc::new(inner),
            deadline: None,
        })
    }

    /// The same client for somebody who waits until `deadline`: no write begins after it.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            deadline: Some(deadline),
        }
    }

    /// Sends a request, several times where it may help, and returns what Stripe
    /// answered. A write has one effect at most: its tries share an idempotency key.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn send(&self, call: &Call) -> Result<Value, ApiError> {
        let (mut tries, mut in_doubt) = (0, false);
        loop {
            tries += 1;
            self.inner.limits.wait(call.endpoint).await;
            // What was begun goes on: whether it was done must be known.
            if tries == 1 && !call.is_read() && self.is_too_late() {
                return Err(ApiError::TooLate);
            }
            let (ended, error) = match self.attempt(call).await {
                Ok(answer) => return Ok(answer),
                Err((ended, error)) => (ended, error.in_doubt(in_doubt)),
            };
            in_doubt |= error.leaves_doubt();
            let Some(pause) = retry::after(&ended, tries, self.inner.config.pause) else {
                return Err(error);
            };
            tokio::time::sleep(pause.at(fastrand::f64())).await;
        }
    }

    fn is_too_late(&self) -> bool {
        let now = Instant::now();
        self.deadline.is_some_and(|deadline| deadline < now)
    }

    async fn attempt(&self, call: &Call) -> Result<Value, (Ended, ApiError)> {
        if call.is_read() {
            self.count_read().await;
        }
        let silent = |why| (Ended::default(), ApiError::NoAnswer(why));
        let answer = tokio::time::timeout(self.inner.config.timeout, self.exchange(call)).await;
        let answer = match answer {
            Ok(answer) => answer.map_err(silent),
            Err(_elapsed) => Err(silent("it took too long")),
        };
        let (status, headers, body) = answer.inspect_err(|(_, error)| {
            self.inner.metrics.answered(call.endpoint, None);
            warn!(endpoint = call.endpoint, %error, "a request to Stripe had no answer");
        })?;
        self.inner.metrics.answered(call.endpoint, Some(status));
        let request = text(&headers, "request-id").map(str::to_owned);
        let request_id = request.as_deref().unwrap_or("-");
        if (200..300).contains(&status) {
            debug!(
                endpoint = call.endpoint,
                status, request_id, "Stripe answered"
            );
            let unreadable = ApiError::Unreadable("it is no JSON");
            return serde_json::from_slice(&body).map_err(|_| (refused(status), unreadable));
        }
        let (ended, error) = failure(status, &headers, &body, request.clone());
        warn!(endpoint = call.endpoint, status, request_id, %error, "Stripe refused or failed");
        if let Some(limit) = ended.limit {
            self.inner.metrics.limited(limit.as_str());
        }
        Err((ended, error))
    }

    /// One exchange, without a bound on its time.
    async fn exchange(&self, call: &Call) -> Result<(u16, HeaderMap, Bytes), &'static str> {
        let request = self
            .request(call)
            .ok_or("the request has a path that is no URL")?;
        let sent = self.inner.http.request(request).await;
        let response: Response<Incoming> = sent.map_err(|error| match error.is_connect() {
            true => "there is no connection",
            false => "the connection was lost",
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|_| "the answer broke off or is too long")?;
        Ok((head.status.as_u16(), head.headers, body.to_bytes()))
    }

    fn request(&self, call: &Call) -> Option<Request<Full<Bytes>>> {
        const STRIPE_VERSION: HeaderName = HeaderName::from_static("stripe-version");
        const STRIPE_ACCOUNT: HeaderName = HeaderName::from_static("stripe-account");
        const STRIPE_CONTEXT: HeaderName = HeaderName::from_static("stripe-context");
        const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
        let (family, of_account, content) = match call.family {
            ApiFamily::V1 => ("v1", STRIPE_ACCOUNT, "application/x-www-form-urlencoded"),
            ApiFamily::V2 => ("v2", STRIPE_CONTEXT, "application/json"),
        };
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(format!("{}{family}{}", self.inner.config.base, call.path))
            .header(AUTHORIZATION, self.inner.authorization.clone())
            .header(
                USER_AGENT,
                concat!("dialoom-worker/", env!("CARGO_PKG_VERSION")),
            )
            .header(STRIPE_VERSION, API_VERSION);
        if let Some(account) = &call.account {
            request = request.header(of_account, account.as_str());
        }
        if let Some(key) = &call.key {
            request = request.header(IDEMPOTENCY_KEY, key.0.as_str());
        }
        if call.body.is_some() {
            request = request.header(CONTENT_TYPE, content);
        }
        let body = call.body.clone().unwrap_or_default();
        request.body(Full::from(body)).ok()
    }

    /// Counts a read, for Stripe's allowance. Where the database is away the read goes on.
    async fn count_read(&self) {
        let Some(pool) = &self.inner.pool else {
            return;
        };
        let counted = match pool.get().await {
            Ok(conn) => api_read::count(&conn).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = counted {
            warn!(reason = %store::in_log(&error), "a read from Stripe was not counted");
        }
    }
}

fn refused(status: u16) -> Ended {
    Ended {
        status: Some(status),
        should_retry: Some(false),
        ..Ended::default()
    }
}

/// How a try ended that Stripe answered with an error, and the error.
fn failure(
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
    request: Option<String>,
) -> (Ended, ApiError) {
    let refusal = Refusal::read(status, body, request);
    let says_limit = refusal
        .as_ref()
        .is_some_and(|refusal| refusal.has_code("rate_limit"));
    let limit = (status == 429 || (status == 400 && says_limit)).then(|| {
        let reason = text(headers, "stripe-rate-limited-reason");
        match reason {
            // A reason that is new to us is a rate.
            Some(reason) => RateLimit::parse(reason).unwrap_or(RateLimit::GlobalRate),
            None if status == 429 => RateLimit::LockTimeout,
            None => RateLimit::GlobalRate,
        }
    });
    let seconds = text(headers, RETRY_AFTER.as_str()).and_then(|value| value.parse().ok());
    let flag = |name| text(headers, name).and_then(|value| value.parse().ok());
    let ended = Ended {
        status: Some(status),
        should_retry: flag("stripe-should-retry"),
        retry_after: seconds.map(Duration::from_secs),
        limit,
        is_replayed: flag("idempotent-replayed").unwrap_or(false),
    };
    let error = match (limit, status) {
        (Some(limit), _) => ApiError::RateLimited(limit),
        (None, 500..) => ApiError::Failed {
            status,
            is_replayed: ended.is_replayed,
        },
        (None, _) => match refusal {
            Some(refusal) => ApiError::Refused(refusal),
            None => ApiError::NotStripes { status },
        },
    };
    (ended, error)
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(status: u16, header: Option<(&'static str, &str)>, body: &str) -> (Ended, ApiError) {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        failure(status, &headers, body.as_bytes(), None)
    }

    #[test]
    fn a_rate_limit_is_one_by_its_status_or_by_its_code() {
        const LIMIT: &str = r#"{"error":{"code":"rate_limit"}}"#;
        let reason = Some(("stripe-rate-limited-reason", "endpoint-rate"));
        for (status, reason, body, limit) in [
            (429, None, LIMIT, RateLimit::LockTimeout),
            (429, reason, "<html>", RateLimit::EndpointRate),
            (400, None, LIMIT, RateLimit::GlobalRate),
            (400, reason, LIMIT, RateLimit::EndpointRate),
        ] {
            let (ended, error) = failed(status, reason, body);
            assert_eq!(error, ApiError::RateLimited(limit), "{status}");
            assert_eq!(ended.limit, Some(limit), "{status}");
        }
        let (ended, error) = failed(400, None, r#"{"error":{"code":"parameter_missing"}}"#);
        assert!(matches!(error, ApiError::Refused(_)));
        assert_eq!(ended.limit, None);
    }

    #[test]
    fn stripes_word_on_retries_is_read_from_its_header() {
        for (said, read) in [
            ("true", Some(true)),
            ("false", Some(false)),
            ("perhaps", None),
        ] {
            let (ended, _) = failed(500, Some(("stripe-should-retry", said)), "");
            assert_eq!(ended.should_retry, read, "{said}");
        }
        assert_eq!(failed(500, None, "").0.should_retry, None);
    }

    #[test]
    fn who_is_to_wait_longer_than_is_waited_hears_why_at_once() {
        let (ended, error) = failed(429, Some(("retry-after", "60")), "");
        assert_eq!(error, ApiError::RateLimited(RateLimit::LockTimeout));
        assert_eq!(retry::after(&ended, 1, ApiConfig::PAUSE), None);
        let (ended, error) = failed(503, Some(("retry-after", "60")), "");
        assert!(matches!(error, ApiError::Failed { status: 503, .. }));
        assert_eq!(retry::after(&ended, 1, ApiConfig::PAUSE), None);
    }

    #[test]
    fn a_refusal_is_stripes_only_with_stripes_error_in_it() {
        for status in [401, 403, 404, 407, 408] {
            let (_, error) = failed(status, None, "<html><h1>Denied</h1></html>");
            assert_eq!(error, ApiError::NotStripes { status });
            assert!(error.leaves_doubt());
            let (_, error) = failed(status, None, r#"{"error":{"message":"No."}}"#);
            assert!(matches!(error, ApiError::Refused(_)), "{status}");
        }
    }
}
