//! Processes of this test program that are workers and nothing else, and may die.

use std::{
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
};

use domain::{
    event::{self as events, Event, Rejected},
    rules::Rules,
};
use harness::{
    test_servers::{TestBroker, amqp_url},
    wait::{self, Seen},
};
use shared::topology::Names;
use tokio::process::{Child, Command};

use super::{Lab, consuming::Worker, running::BOUND};

/// What a process needs to be a worker and nothing else: the prefix and the database.
const CHILD: [&str; 2] = ["WORKER_PROCESS_PREFIX", "WORKER_PROCESS_DATABASE"];
/// The event that kills.
pub const KILLER: &str = "evt_killer";

/// Ends the process at the event that kills.
fn killing(body: &[u8], rules: &Rules) -> Result<Event, Rejected> {
    let event = events::decode(body, rules)?;
    if event.header.id == KILLER {
        std::process::abort();
    }
    Ok(event)
}

/// Where this process was started to be a worker, it is one until it is killed.
pub async fn worker_in_this_process() {
    let [prefix, database] = CHILD.map(|name| std::env::var_os(name)?.into_string().ok());
    let (Some(prefix), Some(database)) = (prefix, database) else {
        return;
    };
    let amqp = amqp_url();
    let names = Names::new(&prefix).unwrap();
    let worker = Worker::start_as(names, &amqp, &database, killing);
    let ended = worker.task.await;
    panic!("a worker that nobody stops ended: {ended:?}");
}

/// A process of this test program that is a worker: it runs this test.
pub fn process(test: &str, broker: &TestBroker, lab: &Lab) -> Child {
    let [prefix, database] = CHILD;
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(prefix, broker.prefix())
        .env(database, lab.worker_url())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Starts one process after the other until one is alive when the query gives so many.
pub async fn run_until(
    start: impl Fn() -> Child,
    deaths: &AtomicUsize,
    lab: &Lab,
    query: &str,
    count: &str,
) {
    let mut child = start();
    wait::until(count, BOUND * 2, async || {
        if child.try_wait().unwrap().is_some() {
            deaths.fetch_add(1, Ordering::Relaxed);
            child = start();
        }
        match &lab.rows(query).await[..] {
            [seen] if seen == count => Seen::Reached(()),
            seen => Seen::NotYet(format!("{seen:?}")),
        }
    })
    .await
    .unwrap();
    // It may have died after it was looked at, and another one have done the rest.
    match child.try_wait().unwrap() {
        Some(_) => drop(deaths.fetch_add(1, Ordering::Relaxed)),
        None => child.kill().await.unwrap(),
    }
}
