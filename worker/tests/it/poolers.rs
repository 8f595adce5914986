//! A pooler in transaction mode is told from the server itself, whatever session it gives
//! to a transaction, and the worker does not start behind it.

use std::process::Command;

use crate::support::{
    migrated,
    transaction_pooler::{self, Order},
};
use harness::{proxy::Proxy, test_servers::TestBroker};
use store::{Database, pooler};

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_changes_sessions_is_told_from_the_server() {
    let database = migrated().await;
    for order in [Order::LastUsed, Order::FirstUsed] {
        let url = transaction_pooler::before(database.url(), order).await;
        for idle in 0..4 {
            let pooled = Database::parse(&url).unwrap();
            let refused = pooler::check(&pooled).await.err();
            let line = refused.map(|error| error.to_string()).unwrap_or_default();
            assert!(
                line.contains("was served by the backends"),
                "{order:?} {idle}: {line}"
            );
            assert!(line.contains("pool_mode = session"), "{line}");
        }
    }
}

/// A proxy that keeps each connection's session, as a pooler in session mode does.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_and_a_proxy_that_keeps_sessions_are_taken() {
    let database = migrated().await;
    let proxy = Proxy::before(database.url(), 5432).await.unwrap();
    for url in [database.url(), proxy.url()] {
        let kept = pooler::check(&Database::parse(url).unwrap()).await;
        assert!(kept.is_ok(), "{:?}", kept.err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_needs_a_session_starts_behind_a_pooler() {
    let database = migrated().await;
    let url = transaction_pooler::before(database.url(), Order::LastUsed).await;
    let broker = TestBroker::new("pooler");
    for arguments in [&["run"][..], &["run", "--no-migrate"], &["migrate"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_worker"))
            .env_clear()
            .env("DATABASE_URL", &url)
            .env("AMQP_URL", broker.url())
            .env("AMQP_PREFIX", broker.prefix())
            .env("STRIPE_MODE", "test")
            .env("WORKER_ADMIN_LISTEN", "127.0.0.1:0")
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with("DATABASE_URL leads to a pooler"), "{said}");
        let password = url::Url::parse(&url).unwrap().password().map(str::to_owned);
        assert!(
            !password.is_some_and(|password| said.contains(&password)),
            "{said}"
        );
    }
}
