//! The shutdown of the service and the end of connections.

use crate::support::{App, BOUND, SECRET, broker_and_spy, event, read_all, seen};
use harness::stripe::{now, sign};
use hyper::StatusCode;
use ingest::limits::Limits;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn what_is_in_flight_is_finished() {
    let (broker, spy) = broker_and_spy("drain").await;
    let app = App::start(&broker, Limits::default()).await;
    let body = event("evt_1", "invoice.paid");
    let signature = sign(SECRET, now(), &body);
    let head = format!(
        "POST /webhooks/stripe HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\
         stripe-signature: {signature}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body[..10]).await.unwrap();
    // The shutdown comes while the request is being read.
    app.until_metric("ingest_in_flight", 1.0).await;
    let address = app.address;
    app.shutdown.cancel();
    let reason = app.until_status(StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(reason, "shutting down\n");
    let refused =
        harness::wait::until(
            "a closed listener",
            BOUND,
            async || match TcpStream::connect(address).await {
                Ok(_) => harness::wait::Seen::NotYet("it accepts".into()),
                Err(error) => harness::wait::Seen::Reached(error.kind()),
            },
        );
    assert_eq!(
        refused.await.unwrap(),
        std::io::ErrorKind::ConnectionRefused
    );
    stream.write_all(&body[10..]).await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    app.ended().await.unwrap();
    assert_eq!(seen(&broker, &spy).await.len(), 1);
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let (broker, _spy) = broker_and_spy("idle").await;
    let app = App::start(&broker, Limits::default()).await;
    let mut fresh = TcpStream::connect(app.address).await.unwrap();
    let mut kept = TcpStream::connect(app.address).await.unwrap();
    kept.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 12];
    kept.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 404");
    let start = Instant::now();
    app.stop().await.unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    read_all(&mut fresh).await;
    read_all(&mut kept).await;
}

#[tokio::test]
async fn a_request_that_does_not_end_is_given_up() {
    let limits = Limits {
        drain: Duration::from_millis(300),
        ..Limits::default()
    };
    let (broker, spy) = broker_and_spy("stuck").await;
    let app = App::start(&broker, limits).await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let head = b"POST /webhooks/stripe HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let start = Instant::now();
    app.stop().await.unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(broker.depth(&spy).await.unwrap(), 0);
}

#[tokio::test]
async fn a_connection_does_not_live_for_ever() {
    let limits = Limits {
        connection_age: Duration::from_millis(200),
        ..Limits::default()
    };
    let (broker, _spy) = broker_and_spy("age").await;
    let app = App::start(&broker, limits).await;
    let mut idle = TcpStream::connect(app.address).await.unwrap();
    assert_eq!(read_all(&mut idle).await, "");
    app.stop().await.unwrap();
}
