//! Three nodes of the broker lose their leader or their majority, or are
//! restarted one after the other.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use futures_util::future::try_join_all;
use serde_json::Value;

use super::super::{
    fault::Fault,
    stage::{BOUND, Stage},
};
use crate::{
    servers::RabbitMq,
    wait::{self, Seen},
};

/// How long a killed node stays away: the others have to go on without it.
const AWAY: Duration = Duration::from_secs(5);

pub(super) async fn strike(
    fault: Fault,
    stage: &Stage,
    nodes: &mut [RabbitMq],
    rng: &mut Rng,
) -> Result<()> {
    match fault {
        Fault::LeaderKilled => {
            let leader = leader(&nodes[0]).await?;
            let node = nodes.iter_mut().find(|node| node.node() == leader);
            let node = node.with_context(|| format!("no node is called {leader}"))?;
            stage.count_kill();
            node.kill();
            tokio::time::sleep(AWAY).await;
            node.start_again().await?;
        }
        Fault::MajorityLost => {
            rng.shuffle(nodes);
            for node in &mut nodes[1..] {
                stage.count_kill();
                node.kill();
            }
            tokio::time::sleep(AWAY).await;
            try_join_all(nodes[1..].iter_mut().map(RabbitMq::start_again)).await?;
        }
        _ => {
            for node in &mut *nodes {
                stage.count_kill();
                node.stop().await?;
                node.start_again().await?;
                until_whole(node).await?;
            }
        }
    }
    until_whole(&nodes[0]).await
}

/// The node that leads the worker's queue.
async fn leader(node: &RabbitMq) -> Result<String> {
    let queues = list(node, "leader").await?;
    let ours = |queue: &&Value| queue["name"] == Stage::worker_queue().as_str();
    let leader = queues.iter().find(ours).map(|queue| &queue["leader"]);
    let leader = leader.and_then(Value::as_str).unwrap_or_default();
    ensure!(!leader.is_empty(), "the queue has no leader: {queues:?}");
    Ok(leader.to_owned())
}

/// Waits until every queue has all of its members: the next node may go then.
async fn until_whole(node: &RabbitMq) -> Result<()> {
    wait::until("queues with three members", BOUND, async || {
        let queues = match list(node, "online").await {
            Ok(queues) => queues,
            Err(error) => return Seen::NotYet(format!("{error:#}")),
        };
        let is_whole = |queue: &Value| queue["online"].as_array().is_some_and(|on| on.len() == 3);
        if queues.len() >= 2 && queues.iter().all(is_whole) {
            Seen::Reached(())
        } else {
            Seen::NotYet(format!("{queues:?}"))
        }
    })
    .await
}

async fn list(node: &RabbitMq, column: &str) -> Result<Vec<Value>> {
    let columns = ["list_queues", "--formatter=json", "name", column];
    Ok(serde_json::from_str(&node.ctl(&columns).await?)?)
}
