//! The broker over TLS, with a private authority.

use harness::certificates::{Authority, Identity};
use harness::private::PrivateFolder;
use harness::servers::{RabbitMq, RabbitMqOptions};
use harness::wait::{self, Seen};
use harness::{checkout, ports};
use shared::amqp::{AmqpUrl, connect};
use shared::telemetry::report;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;

/// Bound for the TLS listener to open once the plain one has.
const LISTENER_BOUND: Duration = Duration::from_secs(30);

/// A node whose TLS listener is open, which proves itself with the certificate in `folder`.
async fn broker(folder: &Path, port: u16) -> RabbitMq {
    let at = |name: &str| folder.join(name).display().to_string();
    let config = format!(
        "listeners.ssl.1 = 127.0.0.1:{port}\n\
         ssl_options.cacertfile = {}\n\
         ssl_options.certfile = {}\n\
         ssl_options.keyfile = {}\n\
         ssl_options.verify = verify_none\n",
        at("ca.pem"),
        at("server.pem"),
        at("server.key")
    );
    let options = RabbitMqOptions {
        config,
        ..RabbitMqOptions::default()
    };
    let node = RabbitMq::start(folder, options).await.unwrap();
    // A node counts as started when its plain listener lets a client in. Newer
    // brokers open the TLS listener after that.
    let listens = async || match TcpStream::connect(("127.0.0.1", port)).await {
        Ok(_) => Seen::Reached(()),
        Err(error) => Seen::NotYet(error.to_string()),
    };
    let listening = wait::until("the TLS listener", LISTENER_BOUND, listens);
    listening.await.unwrap();
    node
}

fn give(folder: &Path, identity: &Identity) {
    checkout::write_private(&folder.join("server.pem"), &identity.certificate).unwrap();
    checkout::write_private(&folder.join("server.key"), &identity.key).unwrap();
}

#[tokio::test]
async fn a_broker_is_trusted_by_its_authority_its_name_and_its_dates() {
    let folder = PrivateFolder::make("tls").unwrap();
    let (authority, stranger) = (Authority::new().unwrap(), Authority::new().unwrap());
    let ours = authority.write(&folder.path().join("ca.pem")).unwrap();
    let other = stranger.write(&folder.path().join("other.pem")).unwrap();
    give(folder.path(), &authority.certify("localhost").unwrap());
    let port = ports::free().unwrap();
    let mut node = broker(folder.path(), port).await;
    let url = node.url();
    let credentials = url.trim_start_matches("amqp://").split('@').next().unwrap();
    let (_user, password) = credentials.split_once(':').unwrap();
    let at = |host: &str, query: &str| {
        AmqpUrl::parse(&format!("amqps://{credentials}@{host}:{port}/{query}")).unwrap()
    };
    let refusal = async |host: &str, query: &str| {
        let Err(error) = connect(&at(host, query), "test").await else {
            panic!("connected to {host} with {query}");
        };
        let line = report(&error);
        assert!(!line.contains(password), "{line}");
        line
    };

    let trusted = format!("?cacertfile={ours}");
    let connection = connect(&at("localhost", &trusted), "test").await.unwrap();
    connection.create_channel().await.unwrap();

    for query in ["", &format!("?cacertfile={other}")] {
        let line = refusal("localhost", query).await;
        assert!(line.contains("UnknownIssuer"), "{line}");
    }
    let line = refusal("127.0.0.1", &trusted).await;
    assert!(line.contains("not valid for name"), "{line}");

    give(
        folder.path(),
        &authority.certify_expired("localhost").unwrap(),
    );
    // The node reads its certificate anew once it has forgotten the one that it has
    // read. That takes less than a second, and a restart of the node ten.
    node.ctl(&["eval", "ssl:clear_pem_cache()."]).await.unwrap();
    let line = refusal("localhost", &trusted).await;
    assert!(line.contains("certificate expired"), "{line}");

    // A broker that speaks no TLS is not spoken to in the clear.
    let plain = format!("amqps://{credentials}@localhost:{}/{trusted}", node.port());
    let plain = AmqpUrl::parse(&plain).unwrap();
    let Err(error) = connect(&plain, "test").await else {
        panic!("connected without TLS");
    };
    assert!(!report(&error).contains(password));
    node.stop().await.unwrap();
}
