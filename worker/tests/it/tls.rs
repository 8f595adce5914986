//! Postgres over TLS, with a private authority.

use std::process::Command;

use harness::{
    certificates::Authority,
    private::PrivateFolder,
    servers::{Durability, Postgres, PostgresOptions},
};
use store::Database;

/// Who answers under `localhost` and `127.0.0.1`.
struct Server {
    postgres: Postgres,
    credentials: String,
}

impl Server {
    async fn start(folder: &PrivateFolder) -> Self {
        let options = PostgresOptions {
            durability: Durability::Fast,
            ..PostgresOptions::default()
        };
        let postgres = Postgres::start(folder.path(), options).await.unwrap();
        let url = postgres.url();
        let credentials = url.trim_start_matches("postgres://").split('@').next();
        Self {
            credentials: credentials.unwrap().to_owned(),
            postgres,
        }
    }

    fn url(&self, host: &str, parameters: &str) -> String {
        let (credentials, port) = (&self.credentials, self.postgres.port());
        format!("postgres://{credentials}@{host}:{port}/dialoom?{parameters}")
    }

    /// Why a connection is refused.
    async fn refusal(&self, host: &str, parameters: &str) -> String {
        let database = Database::parse(&self.url(host, parameters)).unwrap();
        let Err(error) = database.connect().await else {
            panic!("connected to {host} with {parameters}");
        };
        let line = shared::telemetry::report(&error);
        let (_user, password) = self.credentials.split_once(':').unwrap();
        assert!(!line.contains(password), "{line}");
        line
    }

    async fn lets_in(&self, host: &str, parameters: &str) {
        let database = Database::parse(&self.url(host, parameters)).unwrap();
        let connected = database.connect().await;
        assert!(connected.is_ok(), "{parameters}: {:?}", connected.err());
    }
}

fn assert_says(line: &str, words: &str) {
    assert!(line.contains(words), "{words:?} is not in {line:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_trusted_by_its_authority_its_name_and_its_dates() {
    let folder = PrivateFolder::make("pg-tls").unwrap();
    let (authority, stranger) = (Authority::new().unwrap(), Authority::new().unwrap());
    let ours = authority.write(&folder.path().join("ca.pem")).unwrap();
    let other = stranger.write(&folder.path().join("other.pem")).unwrap();
    let full = format!("sslmode=verify-full&sslrootcert={ours}");
    let mut server = Server::start(&folder).await;

    // Without TLS nobody who asks for it is let down to plain text.
    for parameters in [full.as_str(), "sslmode=require"] {
        let line = server.refusal("localhost", parameters).await;
        assert_says(&line, "server does not support TLS");
    }

    let good = authority.certify("localhost").unwrap();
    server.postgres.start_as(good).await.unwrap();
    server.lets_in("localhost", &full).await;
    server
        .lets_in("localhost", &full.replace("full", "ca"))
        .await;
    let required = format!("sslmode=require&sslrootcert={ours}");
    server.lets_in("localhost", &required).await;
    // Wrong authority, in every way to ask for the right one.
    for parameters in [
        format!("sslmode=verify-full&sslrootcert={other}"),
        format!("sslmode=require&sslrootcert={other}"),
        "sslmode=verify-full".to_owned(),
        "sslmode=verify-full&sslrootcert=system".to_owned(),
        "sslmode=require&sslaccept=strict".to_owned(),
        "sslaccept=strict".to_owned(),
    ] {
        let line = server.refusal("localhost", &parameters).await;
        assert_says(&line, "UnknownIssuer");
    }
    // Wrong name.
    for mode in ["verify-full", "verify-ca"] {
        let parameters = format!("sslmode={mode}&sslrootcert={ours}");
        let line = server.refusal("127.0.0.1", &parameters).await;
        assert_says(&line, "not valid for name");
    }
    // Encrypted, and open to an impostor: what libpq's words mean.
    server.lets_in("127.0.0.1", "sslmode=require").await;
    server.lets_in("127.0.0.1", "").await;

    // The worker's own words.
    let refused = Command::new(env!("CARGO_BIN_EXE_worker"))
        .arg("migrate")
        .env_clear()
        .env("DATABASE_URL", server.url("127.0.0.1", &full))
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let log = String::from_utf8(refused.stderr).unwrap();
    assert_says(&log, "not valid for name");

    let expired = authority.certify_expired("localhost").unwrap();
    server.postgres.start_as(expired).await.unwrap();
    let line = server.refusal("localhost", &full).await;
    assert_says(&line, "certificate expired");
    server.postgres.stop().await.unwrap();
}
