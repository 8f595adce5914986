//! The configuration, exit codes and signals of the binary.

use harness::services::{Service, ServiceOptions};
use harness::stripe::{Event, now, sign};
use harness::test_servers::TestBroker;
use hyper::StatusCode;
use std::process::{Command, Output};

/// A valid configuration.
const GOOD: [(&str, &str); 3] = [
    ("STRIPE_WEBHOOK_SECRETS", "whsec_hush"),
    ("STRIPE_MODE", "test"),
    ("AMQP_URL", "amqp://user:hush@127.0.0.1:1/"),
];

fn ingest(arguments: &[&str], changes: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingest"));
    command.args(arguments).env_clear().envs(GOOD);
    for (name, value) in changes {
        if value.is_empty() {
            command.env_remove(name);
        } else {
            command.env(name, value);
        }
    }
    command.output().unwrap()
}

#[test]
fn a_missing_or_wrong_variable_exits_64_with_one_line() {
    let cases = [
        (
            "STRIPE_WEBHOOK_SECRETS",
            "",
            "holds nothing; expected one or more signing secrets",
        ),
        (
            "STRIPE_WEBHOOK_SECRETS",
            " ",
            "holds a secret of 1 characters; expected",
        ),
        ("STRIPE_WEBHOOK_SECRETS", "whsec_hush,", "entry 2 is blank"),
        (
            "STRIPE_WEBHOOK_SECRETS",
            " whsec_hush",
            "entry 1 holds a space",
        ),
        (
            "STRIPE_WEBHOOK_SECRETS",
            "a=whsec_hush,a=whsec_b",
            "entries 1 and 2",
        ),
        ("STRIPE_MODE", "", "holds nothing; expected live or test"),
        (
            "STRIPE_MODE",
            "prod",
            "holds \"prod\"; expected live or test",
        ),
        ("AMQP_URL", "", "holds nothing; expected amqp://"),
        ("AMQP_URL", "http://user:hush@h/", "neither amqp nor amqps"),
        (
            "AMQP_URL",
            "amqp://user:hush@h/?verify=none",
            "\"verify\" is not known",
        ),
        ("AMQP_PREFIX", "a b", "holds \"a b\"; expected at most 200"),
        (
            "INGEST_LISTEN",
            "8080",
            "holds \"8080\"; expected an IP address and a port",
        ),
        (
            "INGEST_LISTEN",
            "localhost:8080",
            "holds \"localhost:8080\"; expected",
        ),
        ("INGEST_ADMIN_LISTEN", "x", "holds \"x\"; expected"),
        (
            "INGEST_ADMIN_LISTEN",
            "127.0.0.1:8080",
            "expected another address than INGEST_LISTEN",
        ),
        ("LOG_FORMAT", "xml", "holds \"xml\"; expected json or text"),
        ("RUST_LOG", "=,=", "expected a tracing filter"),
    ];
    for (name, value, expected) in cases {
        let output = ingest(&[], &[(name, value)]);
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{name}={value}: {line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.starts_with(&format!("ingest: {name} ")), "{line}");
        assert!(line.contains(expected), "{line}");
        assert!(!line.contains("hush"), "{line}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn help_and_version_need_no_configuration() {
    let unset = GOOD.map(|(name, _)| (name, ""));
    let help = ingest(&["--help"], &unset);
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(
        text.contains("STRIPE_WEBHOOK_SECRETS") && text.contains("healthcheck"),
        "{text}"
    );
    let version = ingest(&["--version"], &unset);
    let text = String::from_utf8(version.stdout).unwrap();
    assert_eq!(text.trim(), concat!("ingest ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn an_address_in_use_is_reported() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = ingest(&[], &[("INGEST_LISTEN", &address)]);
    assert_eq!(output.status.code(), Some(1));
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(
        line.contains(&format!(
            "cannot listen on {address}: Address already in use"
        )),
        "{line}"
    );
}

#[test]
fn the_health_check_fails_if_no_service_runs() {
    // Bound, so that nobody else gets the port, and not listening.
    let free = tokio::net::TcpSocket::new_v4().unwrap();
    free.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = free.local_addr().unwrap().to_string();
    let output = ingest(&["healthcheck"], &[("INGEST_ADMIN_LISTEN", &address)]);
    assert_eq!(output.status.code(), Some(1));
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(
        line.contains(&address) && line.contains("refused"),
        "{line}"
    );
}

fn folder(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn options(broker: &TestBroker, folder: &std::path::Path) -> ServiceOptions {
    let mut options = ServiceOptions::ingest(folder).unwrap();
    options.binary = Some(env!("CARGO_BIN_EXE_ingest").into());
    options
        .env("STRIPE_WEBHOOK_SECRETS", "whsec_hush")
        .env("STRIPE_MODE", "test")
        .env("AMQP_URL", broker.url())
        .env("AMQP_PREFIX", broker.prefix())
        .env("LOG_FORMAT", "json")
        .env("RUST_LOG", "trace")
}

#[tokio::test]
async fn it_serves_is_healthy_ends_on_sigterm_and_logs_no_secret() {
    let broker = TestBroker::new("binary");
    let mut service = Service::start(options(&broker, &folder("serves")))
        .await
        .unwrap();
    let admin = service.admin_url();
    let address = admin.trim_start_matches("http://").trim_end_matches('/');
    let check = ingest(&["healthcheck"], &[("INGEST_ADMIN_LISTEN", address)]);
    assert!(check.status.success(), "{check:?}");

    let object = serde_json::json!({ "customer_email": "ada@example.org" });
    for kind in ["invoice.paid", "price.created"] {
        let body = Event::new("evt_1", kind, object.clone()).bytes();
        let signature = sign("whsec_hush", now(), &body);
        let base = service.url();
        let answer = harness::http::post_event(&base, &signature, body.clone())
            .await
            .unwrap();
        assert_eq!(answer.status, StatusCode::OK);
        let answer = harness::http::post_event(&base, "t=1,v1=forged", body)
            .await
            .unwrap();
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    }
    let status = service.terminate().await.unwrap();
    assert_eq!(status.unwrap().code(), Some(0));

    let log = service.log();
    assert!(
        log.contains("\"message\":\"listening\"") && log.contains("\"message\":\"stopped\""),
        "{log}"
    );
    for secret in ["hush", "ada@example.org", "customer_email", "v1=", "forged"] {
        assert!(!log.contains(secret), "the log shows {secret}");
    }
}

#[tokio::test]
async fn a_topology_that_differs_exits_1_and_names_it() {
    let broker = TestBroker::new("exit");
    let url = shared::amqp::AmqpUrl::parse(broker.url()).unwrap();
    let connection = shared::amqp::connect(&url, "test").await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let queue = broker.worker_queue();
    let durable = lapin::options::QueueDeclareOptions::durable();
    let declared = channel.queue_declare(queue.as_str().into(), durable, Default::default());
    declared.await.unwrap();
    let (url, prefix) = (broker.url().to_owned(), broker.prefix().to_owned());
    let output = tokio::task::spawn_blocking(move || {
        let listen = "127.0.0.1:0";
        let changes = [
            ("AMQP_URL", url.as_str()),
            ("AMQP_PREFIX", &prefix),
            ("INGEST_LISTEN", listen),
            ("INGEST_ADMIN_LISTEN", listen),
            ("RUST_LOG", "off"),
        ];
        ingest(&[], &changes)
    });
    let output = output.await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains(&format!("queue {queue} exists")), "{line}");
}
