//! The admin listener, asked over TCP.

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use shared::admin::http::{Request, Response};
use shared::admin::{Admin, ProbeError, healthcheck};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

struct Served {
    address: SocketAddr,
    ready: Arc<AtomicBool>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

async fn serve() -> Served {
    let mut registry = Registry::default();
    let counter = Counter::<u64>::default();
    counter.inc();
    registry.register("seen", "Things seen", counter);
    let ready = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&ready);
    let admin = Admin::new(registry, move || {
        let ready = asked.load(Ordering::Relaxed);
        async move {
            if ready {
                Ok(())
            } else {
                Err("broker away".into())
            }
        }
    })
    .with_pages(|request: Request<Bytes>| async move {
        (request.uri().path() == "/echo").then(|| Response::new(request.into_body()))
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(admin.serve(listener, shutdown.clone()));
    Served {
        address,
        ready,
        shutdown,
        task,
    }
}

async fn ask(address: SocketAddr, line: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn every_path_has_its_answer() {
    let served = serve().await;
    let to = served.address;
    assert!(
        ask(to, "GET /healthz", "")
            .await
            .starts_with("HTTP/1.1 200")
    );
    let metrics = ask(to, "GET /metrics", "").await;
    assert!(
        metrics.contains("seen_total 1") && metrics.contains("# EOF"),
        "{metrics}"
    );
    assert!(metrics.contains("openmetrics-text"), "{metrics}");
    assert!(
        ask(to, "POST /metrics", "")
            .await
            .starts_with("HTTP/1.1 405")
    );
    assert!(
        ask(to, "GET /nothing", "")
            .await
            .starts_with("HTTP/1.1 404")
    );
    assert!(ask(to, "POST /echo", "said").await.ends_with("said"));
    let long = "x".repeat(100_000);
    assert!(
        ask(to, "POST /echo", &long)
            .await
            .starts_with("HTTP/1.1 413")
    );
    served.shutdown.cancel();
    served.task.await.unwrap();
}

#[tokio::test]
async fn the_health_check_tells_ready_from_not_ready() {
    let served = serve().await;
    healthcheck(served.address).await.unwrap();
    served.ready.store(false, Ordering::Relaxed);
    let error = healthcheck(served.address).await.unwrap_err();
    assert_eq!(error.to_string(), "not ready: 503 broker away");
    served.shutdown.cancel();
    served.task.await.unwrap();
    let error = healthcheck(served.address).await.unwrap_err();
    assert!(matches!(error, ProbeError::Unreachable(..)), "{error}");
}
