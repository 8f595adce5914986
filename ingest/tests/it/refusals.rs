//! Requests that are refused, with their responses. None of them is published.

use crate::support::{App, BOUND, SECRET, broker_and_spy, event, read_all};
use harness::http::send;
use harness::stripe::{now, sign};
use harness::test_servers::TestBroker;
use hyper::{Method, StatusCode};
use ingest::limits::{Limits, MAX_BODY};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const PATH: &str = "/webhooks/stripe";

async fn start(label: &str) -> (App, TestBroker, String) {
    start_with(label, Limits::default()).await
}

async fn start_with(label: &str, limits: Limits) -> (App, TestBroker, String) {
    let (broker, spy) = broker_and_spy(label).await;
    (App::start(&broker, limits).await, broker, spy)
}

/// Limits with short timeouts for head and body.
fn hasty() -> Limits {
    Limits {
        head: Duration::from_millis(300),
        body: Duration::from_millis(300),
        ..Limits::default()
    }
}

/// Checks that nothing was published and that the service still accepts events.
async fn nothing_was_published(app: App, broker: &TestBroker, spy: &str) {
    assert_eq!(
        broker.depth(spy).await.unwrap(),
        0,
        "something was published"
    );
    let body = event("evt_good", "invoice.paid");
    assert_eq!(app.deliver(&body).await.status, StatusCode::OK);
    assert_eq!(broker.depth(spy).await.unwrap(), 1);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn signatures_that_are_not_right() {
    let (app, broker, spy) = start("unsigned").await;
    let body = event("evt_1", "invoice.paid");
    let good = sign(SECRET, now(), &body);
    let (time, signature) = good.split_once(',').unwrap();
    let headers = [
        sign("whsec_other", now(), &body),
        sign(SECRET, now() - 301, &body),
        sign(SECRET, now() + 310, &body),
        sign(SECRET, now(), b"another body"),
        format!("{time},{good}"),
        format!("{time}, {signature}"),
        format!("{time},{}", signature.replace("v1", "v0")),
        time.to_owned(),
        signature.to_owned(),
        String::new(),
        "nonsense".to_owned(),
    ];
    for header in &headers {
        let answer = app.post(header, &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{header}");
        // The response does not say what was wrong.
        assert_eq!(answer.text(), "bad request\n");
    }
    let url = format!("{}{PATH}", app.base());
    let none = send(Method::POST, &url, &[], body.clone()).await.unwrap();
    assert_eq!(none.status, StatusCode::BAD_REQUEST);
    let twice = [
        ("stripe-signature", good.as_str()),
        ("stripe-signature", &good),
    ];
    let twice = send(Method::POST, &url, &twice, body).await.unwrap();
    assert_eq!(twice.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        app.metric(r#"ingest_refused_total{reason="mismatch"}"#)
            .await,
        2.0
    );
    assert_eq!(
        app.metric(r#"ingest_refused_total{reason="stale"}"#).await,
        2.0
    );
    assert_eq!(
        app.metric(r#"ingest_requests_total{status="400"}"#).await,
        13.0
    );
    nothing_was_published(app, &broker, &spy).await;
}

#[tokio::test]
async fn authentic_bodies_that_are_no_events() {
    let (app, broker, spy) = start("no-event").await;
    let event = r#"{"id":"evt_1","object":"event","type":"invoice.paid"}"#;
    let deep = "[".repeat(100_000);
    let closed = format!("{deep}{}", "]".repeat(100_000));
    let long = format!(
        r#"{{"id":"evt_{}","object":"event","type":"invoice.paid"}}"#,
        "a".repeat(300)
    );
    let bodies: [&[u8]; 19] = [
        b"",
        b"hello",
        b"null",
        b"\0",
        b"{}",
        b"[]",
        deep.as_bytes(),
        closed.as_bytes(),
        &event.as_bytes()[..30],
        &[event.as_bytes(), b"\0"].concat(),
        &[event.as_bytes(), event.as_bytes()].concat(),
        b"{\"id\":\"evt\0\",\"object\":\"event\",\"type\":\"invoice.paid\"}",
        b"{\"id\":\"evt_1\",\"object\":\"event\",\"type\":\"invoice.paid\",\"data\":\"\xff\"}",
        br#"{"id":"evt_1","object":"invoice","type":"invoice.paid"}"#,
        br#"{"id":"evt_1","object":"event"}"#,
        br#"{"id":1,"object":"event","type":"invoice.paid"}"#,
        br#"{"id":"evt_1","id":"evt_2","object":"event","type":"invoice.paid"}"#,
        br#"{"object":"event","type":"invoice.paid"}"#,
        long.as_bytes(),
    ];
    for body in bodies {
        let answer = app.deliver(body).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]);
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{shown}");
        assert_eq!(answer.text(), "bad request\n");
    }
    nothing_was_published(app, &broker, &spy).await;
}

#[tokio::test]
async fn other_paths_and_methods() {
    let (app, broker, spy) = start("path").await;
    let body = event("evt_1", "invoice.paid");
    let signature = sign(SECRET, now(), &body);
    let headers = [("stripe-signature", signature.as_str())];
    for path in [
        "/",
        "/webhooks",
        "/webhooks/stripe/",
        "/Webhooks/Stripe",
        "/metrics",
        "//webhooks/stripe",
    ] {
        let url = format!("{}{path}", app.base());
        let answer = send(Method::POST, &url, &headers, body.clone())
            .await
            .unwrap();
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    for method in [
        Method::GET,
        Method::HEAD,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
    ] {
        let url = format!("{}{PATH}", app.base());
        let answer = send(method.clone(), &url, &headers, body.clone())
            .await
            .unwrap();
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.headers.get("allow").unwrap(), "POST");
    }
    nothing_was_published(app, &broker, &spy).await;
}

#[tokio::test]
async fn bodies_over_the_limit() {
    let (app, broker, spy) = start("large").await;
    // A client that announces the length and waits before it sends the body.
    let announced = MAX_BODY + 1;
    let request = format!(
        "POST {PATH} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: {announced}\r\n\r\n"
    );
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // A client that sends the whole body before it reads.
    let answer = app.deliver(&vec![b' '; 3 * 1024 * 1024]).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    // A client that announces no length.
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    for _ in 0..=(MAX_BODY / 0x10000) {
        stream.write_all(&chunk).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(
        app.metric(r#"ingest_refused_total{reason="too_large"}"#)
            .await,
        3.0
    );
    nothing_was_published(app, &broker, &spy).await;
}

#[tokio::test]
async fn a_head_that_comes_slowly() {
    let (app, broker, spy) = start_with("slow-head", hasty()).await;
    let start = Instant::now();
    let answer = app
        .raw(format!("POST {PATH} HTTP/1.1\r\nhost: a\r\n").as_bytes())
        .await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    // A connection without a request is closed without a response.
    assert_eq!(app.raw(b"").await, "");
    nothing_was_published(app, &broker, &spy).await;
}

#[tokio::test]
async fn a_head_that_trickles_does_not_win_time() {
    let (app, broker, spy) = start_with("trickle", hasty()).await;
    let stream = TcpStream::connect(app.address).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let trickle = tokio::spawn(async move {
        let _closed = to.write_all(b"POST / HTTP/1.1\r\n").await;
        while to.write_all(b"a: b\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let start = Instant::now();
    let mut answer = Vec::new();
    // The client is still sending, so it may see a reset instead of the end.
    let _reset = tokio::io::AsyncReadExt::read_to_end(&mut from, &mut answer).await;
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    trickle.await.unwrap();
    nothing_was_published(app, &broker, &spy).await;
}

#[tokio::test]
async fn a_body_that_comes_slowly() {
    let (app, broker, spy) = start_with("slow-body", hasty()).await;
    let body = event("evt_1", "invoice.paid");
    let signature = sign(SECRET, now(), &body);
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\nstripe-signature: {signature}\r\n\r\n",
        body.len()
    );
    let most = [head.as_bytes(), &body[..body.len() - 1]].concat();
    let answer = app.raw(&most).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    nothing_was_published(app, &broker, &spy).await;
}

#[tokio::test]
async fn a_body_that_breaks_off() {
    let (app, broker, spy) = start("broken").await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    // hyper closes the connection with or without a response.
    let _answer = read_all(&mut stream).await;
    nothing_was_published(app, &broker, &spy).await;
}

#[tokio::test]
async fn requests_that_are_not_http() {
    let (app, broker, spy) = start("no-http").await;
    for request in [
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
        "hello\r\n\r\n",
        "GET\r\n\r\n",
    ] {
        let answer = app.raw(request.as_bytes()).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
            "{answer}"
        );
    }
    let long = format!(
        "POST {PATH} HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "a".repeat(100_000)
    );
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let _reset = stream.write_all(long.as_bytes()).await;
    let mut answer = Vec::new();
    let _reset = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await;
    nothing_was_published(app, &broker, &spy).await;
}

#[tokio::test]
async fn bodies_over_the_budget() {
    let limits = Limits {
        buffered_bytes: 10_000,
        ..Limits::default()
    };
    let (app, broker, spy) = start_with("budget", limits).await;
    let mut body = event("evt_1", "invoice.paid");
    body.resize(10_001, b' ');
    let answer = app.deliver(&body).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers.contains_key("retry-after"));
    nothing_was_published(app, &broker, &spy).await;
}

#[tokio::test]
async fn a_new_connection_evicts_the_oldest_unverified_one() {
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let (app, broker, spy) = start_with("many", limits).await;
    let mut silent = [
        TcpStream::connect(app.address).await.unwrap(),
        TcpStream::connect(app.address).await.unwrap(),
    ];
    // A connection without a request is evicted.
    let other_mode = br#"{"id":"evt_1","object":"event","type":"invoice.paid","livemode":true}"#;
    assert_eq!(app.deliver(other_mode).await.status, StatusCode::OK);
    assert!(app.metric("ingest_connections_evicted_total").await >= 1.0);
    let mut nothing = [0; 1];
    let oldest = tokio::io::AsyncReadExt::read(&mut silent[0], &mut nothing);
    let closed = tokio::time::timeout(BOUND, oldest).await.unwrap();
    assert_eq!(closed.unwrap(), 0);
    // A connection that sends a request slowly is evicted, too.
    let begun = format!("POST {PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n");
    let mut active = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(app.address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        active.push(stream);
    }
    app.until_metric("ingest_in_flight", 2.0).await;
    assert_eq!(app.deliver(other_mode).await.status, StatusCode::OK);
    let oldest = tokio::io::AsyncReadExt::read(&mut active[0], &mut nothing);
    let closed = tokio::time::timeout(BOUND, oldest).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    drop((silent, active));
    app.until_metric("ingest_connections", 0.0).await;
    nothing_was_published(app, &broker, &spy).await;
}
