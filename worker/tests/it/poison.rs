//! An event that crashes its handler stops nobody else, and is given up.

use std::time::{Duration, Instant};

use crate::support::{
    Lab,
    running::{BOUND, Options, Running, declare, properties, until},
};
use domain::{
    event::{self as events, Rejected},
    rules::Rules,
};
use harness::{
    servers::rabbitmq,
    stripe::{Event, Invoice},
    test_servers::TestBroker,
};
use lapin::options::BasicPublishOptions;

/// Events in one run: enough that a stop would show.
const EVENTS: usize = 1500;
/// How often each poisonous one is handled: thrice beside others, five times alone, and in
/// between once together with those that came back as well.
const HANDLED: u64 = 8;

fn paid(id: &str, index: usize) -> Event {
    let object = Invoice {
        id: format!("in_{id}"),
        booking: Some((index + 1).to_string()),
        ..Invoice::default()
    };
    Event::new(&format!("evt_{id}"), "invoice.paid", object.value()).of_account("acct_a")
}

/// Crashes on each event whose id says so.
fn crashing(body: &[u8], rules: &Rules) -> Result<events::Event, Rejected> {
    let event = events::decode(body, rules)?;
    assert!(!event.header.id.contains("poison"), "on purpose");
    Ok(event)
}

/// Publishes all over one channel.
pub async fn fill(broker: &TestBroker, events: &[Event]) {
    let connection = rabbitmq::connect(broker.url()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    for event in events {
        let (exchange, body) = (broker.events_exchange().into(), event.bytes());
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish(
            exchange,
            "invoice.paid".into(),
            options,
            &body,
            properties(&body),
        );
        sent.await.unwrap();
    }
    let (queue, count) = (broker.worker_queue(), u32::try_from(events.len()).unwrap());
    broker.until_depth(&queue, count, BOUND).await.unwrap();
}

/// Seconds that a queue full of events takes, with so many poisonous ones in it.
async fn drained(poison: usize) -> Duration {
    let (lab, broker) = (Lab::new().await, TestBroker::new("poison"));
    declare(&broker).await;
    let mut events: Vec<Event> = Vec::new();
    for index in 0..EVENTS {
        if poison > 0 && index % (EVENTS / poison) == 0 {
            events.push(paid(&format!("poison{index}"), 100_000 + index));
        }
        events.push(paid(&index.to_string(), index));
    }
    fill(&broker, &events).await;
    let started = Instant::now();
    let options = Options {
        decode: crashing,
        ..Options::default()
    };
    let worker = Running::with(&broker, broker.url(), lab.worker_url(), options).await;
    let applied = "SELECT count(*)::text FROM stripe.event WHERE outcome = 'applied'";
    until(&lab.client, applied, &EVENTS.to_string()).await;
    let took = started.elapsed();

    let dead = "SELECT count(*) || ' ' || count(*) FILTER (WHERE reason = 'crashes_worker' \
        AND origin = 'worker' AND attempts = 1) FROM stripe.dead_letter";
    until(&lab.client, dead, &format!("{poison} {poison}")).await;
    let (crashes, poison) = (worker.metrics.crashes.get(), u64::try_from(poison).unwrap());
    let together = crashes.checked_sub(HANDLED * poison).unwrap();
    assert!((poison.min(1)..=poison).contains(&together), "{crashes}");
    let attempts = "SELECT DISTINCT outcome || attempts FROM stripe.event ORDER BY 1";
    let expected: &[&str] = match poison {
        0 => &["applied1"],
        _ => &["applied1", "dead1"],
    };
    assert_eq!(lab.rows(attempts).await, expected);
    worker.stop().await;
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_costs_its_own_tries_and_nobody_else() {
    let (clean, poisoned) = (drained(0).await, drained(5).await);
    let rate = |took: Duration| f64::from(u32::try_from(EVENTS).unwrap()) / took.as_secs_f64();
    println!(
        "{:.0} events a second alone, {:.0} beside five poisonous ones",
        rate(clean),
        rate(poisoned)
    );
    assert!(poisoned < clean * 4 + Duration::from_secs(2));
}
