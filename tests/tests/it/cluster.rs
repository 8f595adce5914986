//! Three nodes on one machine form a cluster, and an alarm can be raised.

use anyhow::Result;
use harness::{
    private::PrivateFolder,
    servers::{Durability, RabbitMq, RabbitMqOptions},
};

#[tokio::test]
#[ignore = "takes half a minute; for changes of servers/rabbitmq"]
async fn three_nodes_form_a_cluster() -> Result<()> {
    let private = PrivateFolder::make("cluster")?;
    let folder = private.path();
    let options = |name: &str| RabbitMqOptions {
        name: name.to_owned(),
        durability: Durability::Fast,
        ..RabbitMqOptions::default()
    };
    let first = RabbitMq::start(&folder.join("a"), options("a")).await?;
    let member = |name: &'static str| RabbitMqOptions {
        cluster: Some(first.cluster()),
        ..options(name)
    };
    let (second, third) = (folder.join("b"), folder.join("c"));
    let (mut second, mut third) = tokio::try_join!(
        RabbitMq::start(&second, member("b")),
        RabbitMq::start(&third, member("c"))
    )?;
    second.join(&first).await?;
    third.join(&first).await?;
    let status = first.ctl(&["cluster_status", "--formatter=json"]).await?;
    let status: serde_json::Value = serde_json::from_str(&status)?;
    assert_eq!(
        status["running_nodes"].as_array().map(Vec::len),
        Some(3),
        "{status}"
    );

    third.kill();
    third.start_again().await?;
    first
        .ctl(&["set_vm_memory_high_watermark", "absolute", "1"])
        .await?;
    let alarms = first.ctl(&["eval", "rabbit_alarm:get_alarms()."]).await?;
    assert!(alarms.contains("memory"), "{alarms}");

    Ok(())
}
