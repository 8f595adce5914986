//! What becomes of the services where one of the documented rights is missing.

use harness::{
    services::Service,
    wait::{self, Seen},
};
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use serde_json::json;

use super::{Deployment, deliver, until_unready};
use crate::support::{BOUND, ask};

/// Without one of the rights of the commands' user, the topology does not come about, or no
/// command comes through.
pub(super) async fn for_commands(deployment: &Deployment, full: &[String]) {
    let admin = deployment.node.url();
    let (_, rest) = admin.split_once("//").unwrap();
    let (login, address) = rest.split_once('@').unwrap();
    let (user, _) = login.split_once(':').unwrap();
    let address = address.split('/').next().unwrap();
    let everything = ["set_permissions", "-p", "commands", user, ".*", ".*", ".*"];
    deployment.node.ctl(&everything).await.unwrap();
    let admin = format!("amqp://{login}@{address}/commands");
    let (command, rights) = full.split_at(4);
    for (right, less) in [
        (0, r"^eu\.stripe\.commands$"),
        (0, r"^eu\.stripe\.commands\.expired$"),
        (1, r"^amq\.default$"),
        (1, r"^eu\.stripe\.commands$"),
        (2, r"^eu\.stripe\.commands$"),
        (2, r"^eu\.stripe\.commands\.expired$"),
    ] {
        let (_connection, channel) = deployment.channel_to(&admin).await;
        for queue in ["eu.stripe.commands", "eu.stripe.commands.expired"] {
            let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
            deleted.await.unwrap();
        }
        let exchange = "eu.stripe.commands".into();
        let deleted = channel.exchange_delete(exchange, ExchangeDeleteOptions::default());
        deleted.await.unwrap();
        let mut rights = rights.to_vec();
        rights[right] = less.to_owned();
        let arguments: Vec<&str> = command.iter().chain(&rights).map(String::as_str).collect();
        deployment.node.ctl(&arguments).await.unwrap();
        let url = deployment.url_in("commands", "dialoom_commands");
        let mut worker = deployment.worker(Some(&url)).await;
        wait::until("the consumer of commands", BOUND, async || {
            let log = worker.log();
            let has = |text: &str| log.contains(text);
            match has("no command is taken until") || has("taking commands") {
                true => Seen::Reached(()),
                false => Seen::NotYet(log.clone()),
            }
        })
        .await
        .unwrap();
        let host = json!({ "hostId": 7 });
        let app = deployment.url_in("commands", "app");
        let answer = ask(&app, "eu.stripe.commands", "host.status", &host).await;
        assert!(!matches!(answer, Ok(Some(_))), "{rights:?} are enough");
        worker.terminate().await.unwrap();
    }
}

/// Without a right on the queue, `ingest` is not told whether it is there. Brokers up to 4.2.5
/// tell everybody.
pub(super) async fn for_ingest(deployment: &Deployment) {
    let user = ["set_permissions", "dialoom_ingest", "^$"];
    let without = [&user[..], &[r"^eu\.stripe\.events$", "^$"]].concat();
    deployment.node.ctl(&without).await.unwrap();
    let mut second = Service::spawn(deployment.ingest_named("second")).unwrap();
    let version = deployment.node.ctl(&["version"]).await.unwrap();
    let numbers = version.trim().split('.').map(|part| part.parse().unwrap());
    let version: Vec<u32> = numbers.collect();
    if version < vec![4, 2, 6] {
        second.until_ready(BOUND).await.unwrap();
    } else {
        until_unready(&second, "nor look whether it is there").await;
        assert_eq!(deliver(&second, "evt_blind", "1").await, 503);
    }
    second.terminate().await.unwrap();
    let with = [&user[..], &[r"^eu\.stripe\.events(\.worker)?$", "^$"]].concat();
    deployment.node.ctl(&with).await.unwrap();
}
