//! Private servers start, survive a kill with their data, and leave nothing behind.

use std::{fs, os::unix::fs::MetadataExt as _};

use anyhow::Result;
use harness::{
    checkout,
    private::PrivateFolder,
    servers::{self, Durability, Postgres, PostgresOptions, RabbitMq, RabbitMqOptions, rabbitmq},
};
use lapin::{options::QueueDeclareOptions, types::FieldTable};

#[tokio::test]
async fn postgres_keeps_its_data_over_a_kill() -> Result<()> {
    let folder = PrivateFolder::make("postgres")?;
    let options = PostgresOptions {
        durability: Durability::Fast,
        ..PostgresOptions::default()
    };
    let mut server = Postgres::start(folder.path(), options.clone()).await?;
    let url = server.url();
    // Its data lies in the folder, unless its user cannot get as far as the checkout.
    let checkout = checkout::root()?;
    let mut above = checkout.ancestors().map(fs::metadata);
    if above.all(|folder| folder.is_ok_and(|folder| folder.mode() & 0o001 != 0)) {
        assert!(folder.path().join("area/data").is_dir());
    }
    let client = servers::postgres::connect(&url).await?;
    client
        .batch_execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (42)")
        .await?;

    server.kill();
    assert_eq!(server.pid(), None);
    assert!(servers::postgres::connect(&url).await.is_err());
    server.start_again().await?;
    assert_eq!(server.url(), url);

    // A later program finds the running server, and its data.
    let pid = server.pid();
    server.leave_running();
    drop(server);
    let mut server = Postgres::start(folder.path(), options).await?;
    assert_eq!(server.pid(), pid);
    let row = servers::postgres::connect(&url)
        .await?
        .query_one("SELECT n FROM kept", &[])
        .await?;
    assert_eq!(row.get::<_, i32>(0), 42);

    server.stop().await?;
    drop(server);
    let path = folder.path().to_owned();
    drop(folder);
    assert!(!path.exists());
    Ok(())
}

#[tokio::test]
async fn rabbitmq_keeps_its_queues_over_a_kill() -> Result<()> {
    let folder = PrivateFolder::make("rabbitmq")?;
    let options = RabbitMqOptions {
        durability: Durability::Fast,
        ..RabbitMqOptions::default()
    };
    let mut node = RabbitMq::start(folder.path(), options).await?;
    let url = node.url();
    let channel = rabbitmq::connect(&url).await?.create_channel().await?;
    channel
        .queue_declare(
            "kept".into(),
            QueueDeclareOptions::durable(),
            FieldTable::default(),
        )
        .await?;
    // The broker writes down that there is a queue up to two seconds after it has
    // said so.
    node.ctl(&["eval", "mnesia:sync_log()."]).await?;

    node.kill();
    assert_eq!(node.pid(), None);
    assert!(rabbitmq::connect(&url).await.is_err());
    node.start_again().await?;
    assert_eq!(node.url(), url);
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::durable()
    };
    let channel = rabbitmq::connect(&url).await?.create_channel().await?;
    channel
        .queue_declare("kept".into(), passive, FieldTable::default())
        .await?;

    drop(node);
    let path = folder.path().to_owned();
    drop(folder);
    assert!(!path.exists());
    Ok(())
}
