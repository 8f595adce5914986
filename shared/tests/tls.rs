//! The broker over TLS.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use harness::ports;
use harness::private::PrivateFolder;
use harness::servers::{RabbitMq, RabbitMqOptions};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use shared::amqp::{AmqpUrl, connect};
use shared::telemetry::report;
use std::fs;
use std::path::Path;

/// Writes the certificate of a private authority, and a certificate and key
/// of its making for `localhost`.
fn write_certificates(folder: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
}

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
    RabbitMq::start(folder, options).await.unwrap()
}

#[tokio::test]
async fn a_broker_is_trusted_by_its_authority_and_its_name() {
    let folder = PrivateFolder::make("tls").unwrap();
    write_certificates(folder.path());
    let port = ports::free().unwrap();
    let mut node = broker(folder.path(), port).await;
    let credentials = node.url();
    let credentials = credentials
        .trim_start_matches("amqp://")
        .split_once('@')
        .unwrap()
        .0;
    let authority = folder.path().join("ca.pem").display().to_string();
    let at = |host: &str, query: &str| {
        AmqpUrl::parse(&format!("amqps://{credentials}@{host}:{port}/{query}")).unwrap()
    };

    let trusted = format!("?cacertfile={authority}");
    let connection = connect(&at("localhost", &trusted), "test").await.unwrap();
    connection.create_channel().await.unwrap();

    let error = connect(&at("localhost", ""), "test").await.unwrap_err();
    assert!(
        report(&error).contains("UnknownIssuer"),
        "{}",
        report(&error)
    );
    let error = connect(&at("127.0.0.1", &trusted), "test")
        .await
        .unwrap_err();
    assert!(
        report(&error).contains("not valid for name"),
        "{}",
        report(&error)
    );
    node.stop().await.unwrap();
}
