//! Every test gets a database and a prefix of its own, and they go with it.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::Result;
use harness::{
    random,
    servers::postgres,
    test_servers::{TestBroker, TestDatabase, database_url, unique_prefix},
};
use lapin::{BasicProperties, Confirmation};

async fn databases_named(name: &str) -> Result<usize> {
    let client = postgres::connect(&database_url()).await?;
    Ok(client
        .query("SELECT FROM pg_database WHERE datname = $1", &[&name])
        .await?
        .len())
}

#[tokio::test]
async fn a_database_goes_with_its_value() -> Result<()> {
    let database = TestDatabase::empty("goes").await?;
    let name = database.name().to_owned();
    // An open connection does not keep it.
    let _client = database.connect().await?;
    assert_eq!(databases_named(&name).await?, 1);
    drop(database);
    assert_eq!(databases_named(&name).await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_template_is_migrated_once_however_many_ask() -> Result<()> {
    let key = format!("harness-{}", random::hex(4));
    let migrations = AtomicU32::new(0);
    let copy = || {
        TestDatabase::from_template(&key, async |url| {
            migrations.fetch_add(1, Ordering::SeqCst);
            let client = postgres::connect(url).await?;
            Ok(client
                .batch_execute("CREATE TABLE migrated (n int)")
                .await?)
        })
    };
    let (a, b, c) = tokio::try_join!(copy(), copy(), copy())?;
    assert_eq!(migrations.load(Ordering::SeqCst), 1);
    a.connect()
        .await?
        .batch_execute("INSERT INTO migrated VALUES (1)")
        .await?;
    for other in [b, c] {
        assert!(
            other
                .connect()
                .await?
                .query("SELECT FROM migrated", &[])
                .await?
                .is_empty()
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_failed_migration_is_tried_again() -> Result<()> {
    let key = format!("harness-{}", random::hex(4));
    let failed = TestDatabase::from_template(&key, async |_| anyhow::bail!("on purpose")).await;
    assert!(format!("{:#}", failed.expect_err("it failed")).contains("on purpose"));
    TestDatabase::from_template(&key, async |_| Ok(())).await?;
    Ok(())
}

#[tokio::test]
async fn a_spy_sees_what_is_published_and_all_goes_at_the_end() -> Result<()> {
    let broker = TestBroker::new("spy");
    let spy = broker.spy(["invoice.paid", "invoice.sent"]).await?;
    let properties = BasicProperties::default().with_message_id("evt_1".into());
    let publish = async |event_type| {
        broker
            .publish(event_type, b"body", properties.clone())
            .await
    };
    // No queue takes this type, and the broker gives the message back.
    let returned = publish("invoice.voided").await?;
    assert!(
        matches!(returned, Confirmation::Ack(Some(_))),
        "{returned:?}"
    );
    let confirmed = publish("invoice.paid").await?;
    assert!(
        matches!(confirmed, Confirmation::Ack(None)),
        "{confirmed:?}"
    );
    broker.until_depth(&spy, 1, Duration::from_secs(10)).await?;
    let seen = broker.take_all(&spy).await?;
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].data, b"body");
    assert_eq!(seen[0].routing_key.as_str(), "invoice.paid");
    assert_eq!(broker.depth(&spy).await?, 0);

    let other = TestBroker::new("other");
    drop(broker);
    assert!(other.depth(&spy).await.is_err(), "the spy's queue is gone");
    Ok(())
}

#[test]
fn prefixes_differ() {
    assert_ne!(unique_prefix("a"), unique_prefix("a"));
    assert!(
        unique_prefix("Größe!").starts_with("t-gr--e-"),
        "{}",
        unique_prefix("Größe!")
    );
}
