//! Runs the service inside the test, with the broker of `AMQP_URL`.

use event::EventType;
use harness::http::{Answer, post_event};
use harness::leaks;
use harness::stripe::{Event, now, sign};
use harness::test_servers::TestBroker;
use hyper::StatusCode;
use ingest::config::Config;
use ingest::limits::Limits;
use ingest::publish::StartError;
use ingest::{Listeners, run};
use lapin::message::Delivery;
use shared::config::Env;
use shared::telemetry::Telemetry;
use std::net::SocketAddr;
use std::sync::Once;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The secret that tests sign with. The service is configured with two.
pub(crate) const SECRET: &str = "whsec_test_secret";
/// The other secret of the service.
pub(crate) const OLD_SECRET: &str = "whsec_old_secret";
/// How long a test waits for anything before it fails.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// A running service with a broker prefix of its own.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    task: JoinHandle<Result<(), StartError>>,
}

impl App {
    /// Starts the service in test mode, with this broker address.
    pub(crate) async fn start_at(url: &str, prefix: &str, limits: Limits) -> Self {
        watch_logs();
        let secrets = format!("default={SECRET},old={OLD_SECRET}");
        let env = Env::from_pairs([
            ("STRIPE_WEBHOOK_SECRETS", secrets.as_str()),
            ("STRIPE_MODE", "test"),
            ("AMQP_URL", url),
            ("AMQP_PREFIX", prefix),
        ]);
        let config = Config::from_env(&env).unwrap();
        let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = public.local_addr().unwrap();
        let admin_address = admin.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let listeners = Listeners { public, admin };
        let task = tokio::spawn(run(config, limits, listeners, shutdown.clone()));
        Self {
            address,
            admin: admin_address,
            shutdown,
            task,
        }
    }

    /// Starts the service on this broker and waits until it is ready.
    pub(crate) async fn start(broker: &TestBroker, limits: Limits) -> Self {
        let app = Self::start_at(broker.url(), broker.prefix(), limits).await;
        app.until_ready().await;
        app
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn ready(&self) -> Answer {
        let url = format!("http://{}/readyz", self.admin);
        harness::http::get(&url).await.unwrap()
    }

    pub(crate) async fn until_ready(&self) {
        self.until_status(StatusCode::OK).await;
    }

    /// Waits until `/readyz` answers with this status. Returns the response's body.
    pub(crate) async fn until_status(&self, wanted: StatusCode) -> String {
        use harness::wait::{Seen, until};
        let reached = until(format!("readiness {wanted}"), BOUND, async || {
            let answer = self.ready().await;
            if answer.status == wanted {
                Seen::Reached(answer.text())
            } else {
                Seen::NotYet(answer.text())
            }
        });
        reached.await.unwrap()
    }

    /// Delivers a body with a new signature by [`SECRET`].
    pub(crate) async fn deliver(&self, body: &[u8]) -> Answer {
        let signature = sign(SECRET, now(), body);
        self.post(&signature, body).await
    }

    /// Delivers a body with this signature header.
    pub(crate) async fn post(&self, signature: &str, body: &[u8]) -> Answer {
        post_event(&self.base(), signature, body.to_vec())
            .await
            .unwrap()
    }

    /// Sends these bytes and returns everything that the service sends back.
    pub(crate) async fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        read_all(&mut stream).await
    }

    /// Returns the value of a metric. `name` includes the labels as OpenMetrics
    /// writes them.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let url = format!("http://{}/metrics", self.admin);
        let text = harness::http::get(&url).await.unwrap().text();
        // The space ends the name: another metric's name may start with this one.
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        let value = text.lines().find_map(value);
        value.unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// Waits until a metric has this value.
    pub(crate) async fn until_metric(&self, name: &str, wanted: f64) {
        use harness::wait::{Seen, until};
        let reached = until(format!("{name} {wanted}"), BOUND, async || {
            let value = self.metric(name).await;
            if value == wanted {
                Seen::Reached(())
            } else {
                Seen::NotYet(value.to_string())
            }
        });
        reached.await.unwrap();
    }

    /// Shuts the service down and waits for its end.
    pub(crate) async fn stop(self) -> Result<(), StartError> {
        self.shutdown.cancel();
        self.ended().await
    }

    /// Waits until the service ends.
    pub(crate) async fn ended(self) -> Result<(), StartError> {
        let ended = tokio::time::timeout(BOUND, self.task).await;
        ended.expect("it does not end").unwrap()
    }
}

/// Checks everything that this process logs for secrets and bodies.
fn watch_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let telemetry = Telemetry::from_env(&Env::from_pairs([("RUST_LOG", "trace")]));
        let subscriber = telemetry.unwrap().subscriber(|| leaks::Watch);
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

/// Reads until the peer closes the connection.
pub(crate) async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(BOUND, stream.read_to_end(&mut answer)).await;
    read.expect("the peer does not close").unwrap();
    String::from_utf8(answer).unwrap()
}

/// Makes a new broker prefix and a queue that receives every message of a handled type.
pub(crate) async fn broker_and_spy(label: &str) -> (TestBroker, String) {
    let broker = TestBroker::new(label);
    let handled = EventType::ALL.iter().map(|one| one.as_str());
    let spy = broker.spy(handled).await.unwrap();
    (broker, spy)
}

/// Makes an event of this type as Stripe sends it.
pub(crate) fn event(id: &str, kind: &str) -> Vec<u8> {
    Event::new(
        id,
        kind,
        serde_json::json!({ "id": "in_1", "object": "invoice" }),
    )
    .bytes()
}

/// Takes all messages from the spy queue. An event that was answered with 200 is
/// among them, because the broker confirmed it before.
pub(crate) async fn seen(broker: &TestBroker, spy: &str) -> Vec<Delivery> {
    broker.take_all(spy).await.unwrap()
}
