//! RabbitMQ is killed, restarted, paused, starved or emptied.

use std::time::Duration;

use anyhow::{Result, ensure};
use fastrand::Rng;

use super::{
    super::{fault::Fault, stage::Stage},
    cluster,
};
use crate::{
    servers::RabbitMq,
    wait::{self, Seen},
};

/// How long an alarm lasts.
const ALARM: Duration = Duration::from_secs(4);
/// How long the broker is paused: longer than `ingest` waits for a confirm.
const PAUSED: Duration = Duration::from_secs(8);
/// How long the queue may take to be empty, so that it can be deleted: else this
/// strike is left out.
const EMPTY_WITHIN: Duration = Duration::from_secs(15);

pub(in super::super) async fn strike(fault: Fault, stage: &Stage, rng: &mut Rng) -> Result<()> {
    let mut nodes = stage.broker.lock().await;
    if fault.needs_cluster() {
        return cluster::strike(fault, stage, &mut nodes, rng).await;
    }
    let count = nodes.len();
    let node = &mut nodes[rng.usize(..count)];
    match fault {
        Fault::BrokerKilled => {
            stage.count_kill();
            node.kill();
            node.start_again().await
        }
        Fault::BrokerRestarted => {
            stage.count_kill();
            node.stop().await?;
            node.start_again().await
        }
        Fault::BrokerPaused => {
            if let Some(process) = node.process() {
                process.pause();
                tokio::time::sleep(PAUSED).await;
                process.resume();
            }
            Ok(())
        }
        Fault::MemoryAlarm => {
            let limit = "vm_memory_monitor:set_vm_memory_high_watermark";
            alarm(node, limit, "{absolute, 1}", "0.4").await
        }
        Fault::DiskAlarm => {
            let limit = "rabbit_disk_monitor:set_disk_free_limit";
            alarm(node, limit, "1000000000000000", "50000000").await
        }
        Fault::ConnectionsClosed => {
            let close = ["close_all_connections", "a fault"];
            node.ctl(&close).await.map(drop)
        }
        _ => delete_queue(stage, node).await,
    }
}

/// Raises an alarm and ends it again. It is one command, as each takes seconds to
/// begin on a busy machine.
async fn alarm(node: &RabbitMq, limit: &str, low: &str, right: &str) -> Result<()> {
    let lasts = ALARM.as_millis();
    let raised = node
        .ctl(&[
            "eval",
            &format!(
                "{limit}({low}), timer:sleep({lasts}), Raised = rabbit_alarm:get_alarms(), \
                 {limit}({right}), Raised."
            ),
        ])
        .await?;
    ensure!(raised.trim() != "[]", "the broker raised no alarm");
    Ok(())
}

/// A queue that is deleted takes its messages with it: nobody could be blamed
/// for losing those. So nothing is sent until all is drained, and the queue is
/// deleted then.
async fn delete_queue(stage: &Stage, node: &RabbitMq) -> Result<()> {
    let tally = &stage.tally;
    tally.pause(true);
    let empty = wait::until("an empty queue", EMPTY_WITHIN, async || {
        if tally.in_flight() > 0 {
            return Seen::NotYet("deliveries in flight".to_owned());
        }
        match Stage::left(node).await {
            Ok(left) if left.iter().all(|(_, count)| *count == 0) => Seen::Reached(()),
            Ok(left) => Seen::NotYet(format!("{left:?}")),
            Err(error) => Seen::NotYet(format!("{error:#}")),
        }
    });
    let deleted = match empty.await {
        Ok(()) => node.ctl(&["delete_queue", &Stage::worker_queue()]).await,
        Err(_not_empty) => Ok(String::new()),
    };
    tally.pause(false);
    deleted.map(drop)
}
