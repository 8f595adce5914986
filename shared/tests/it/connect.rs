//! Connecting to peers that are no good broker.

use shared::amqp::{AmqpUrl, ConnectError, connect};
use shared::telemetry::report;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket};

#[tokio::test]
async fn a_silent_peer_is_given_up_and_its_socket_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let silent = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        // Ends only when the client closes.
        stream.read_to_end(&mut read).await.unwrap();
        read
    });
    let url = format!("amqp://guest:hush@{address}/?connection_timeout=200");
    let error = connect(&AmqpUrl::parse(&url).unwrap(), "test")
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Timeout(t) if t == Duration::from_millis(200)));
    let read = tokio::time::timeout(Duration::from_secs(10), silent).await;
    assert!(read.unwrap().unwrap().starts_with(b"AMQP"));
}

#[tokio::test]
async fn a_refused_connection_is_an_error_without_the_password() {
    // Bound, so that nobody else gets the port, and not listening.
    let unused = TcpSocket::new_v4().unwrap();
    unused.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = unused.local_addr().unwrap();
    let url = AmqpUrl::parse(&format!("amqp://guest:hush@{address}")).unwrap();
    let line = report(&connect(&url, "test").await.unwrap_err());
    assert!(line.contains("refused") && !line.contains("hush"), "{line}");
}
