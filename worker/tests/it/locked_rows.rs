//! Events of rows that the main app has locked or refuses, as many as there may be: those
//! of a stranger are applied meanwhile, and all rows follow.
//!
//! The usual run has a thousand of them. `make hostile` has ten thousand, and prints how
//! long the stranger waited.

use std::time::{Duration, Instant};

use crate::support::{
    Lab,
    attack::is_whole,
    consuming::{Worker, until_acked, until_rows},
    payments::{nth_paid, paid},
    running::{properties, until},
};
use futures_util::future::try_join_all;
use harness::{
    servers::rabbitmq,
    stripe::Event,
    test_servers::TestBroker,
    wait::{self, Seen},
};
use lapin::{Channel, Confirmation, options::ConfirmSelectOptions};
use tokio_util::sync::CancellationToken;
use worker::{
    jobs::{self, project_pending::ProjectPending},
    metrics::Metrics,
};

/// Bookings of the host's: the first half of their rows is locked, the rest refused.
const ROWS: usize = 100;
/// Events that are published at once.
const TOGETHER: usize = 100;
/// As many as these in a second.
const PACE: Duration = Duration::from_millis(100);
/// Bound for one event of the stranger's, on a machine that is busy with other tests.
const BOUND: Duration = Duration::from_secs(30);

fn events() -> usize {
    match is_whole() {
        true => 10_000,
        false => 1_000,
    }
}

/// The nth event of the host's.
fn changed(number: usize) -> Event {
    let mut event = nth_paid(number % ROWS);
    event.id = format!("evt_change_{number}");
    event.object["total"] = (1_000 + number).into();
    event.created += i64::try_from(10 + number).unwrap();
    event
}

async fn publish_all(channel: &Channel, exchange: &str, events: &[Event]) {
    let published = events.iter().map(async |event| {
        let body = event.bytes();
        let (exchange, key) = (exchange.into(), event.kind.as_str().into());
        let options = Default::default();
        let sent = channel.basic_publish(exchange, key, options, &body, properties(&body));
        sent.await?.await
    });
    for confirmed in try_join_all(published).await.unwrap() {
        assert_eq!(confirmed, Confirmation::Ack(None));
    }
}

/// How long the stranger's event takes from its confirm to its row of the ledger.
async fn stranger(lab: &Lab, channel: &Channel, exchange: &str, number: usize) -> Duration {
    let mut event = paid(&format!("stranger_{number}"), &(1_000 + number).to_string());
    event.account = Some("acct_stranger".into());
    publish_all(channel, exchange, std::slice::from_ref(&event)).await;
    let (start, query) = (Instant::now(), "SELECT FROM stripe.event WHERE id = $1");
    wait::until("the stranger's event", BOUND, async || {
        match lab.client.query_opt(query, &[&event.id]).await.unwrap() {
            Some(_) => Seen::Reached(()),
            None => Seen::NotYet("it is not applied".to_owned()),
        }
    })
    .await
    .unwrap();
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_among_events_of_locked_and_refused_rows_is_applied() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("locked"));
    let worker = Worker::start(&broker, broker.url(), lab.worker_url())
        .consuming()
        .await;
    let connection = rabbitmq::connect(broker.url()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let confirms = ConfirmSelectOptions::default();
    channel.confirm_select(confirms).await.unwrap();
    let exchange = broker.events_exchange();
    let first: Vec<Event> = (0..ROWS).map(nth_paid).collect();
    publish_all(&channel, &exchange, &first).await;
    until_rows(&lab, ROWS).await;
    let stop = CancellationToken::new();
    let (pool, executor) = (lab.executor.pool.clone(), lab.executor.clone());
    let job = ProjectPending::new(executor);
    let job = tokio::spawn(jobs::run(job, pool, Metrics::default().jobs, stop.clone()));

    let half = ROWS / 2;
    let check = format!(
        r#"ALTER TABLE "Invoice" ADD CONSTRAINT "half" CHECK ("bookingId" <= {half} OR "bookingId" > {ROWS}) NOT VALID"#
    );
    lab.client.batch_execute(&check).await.unwrap();
    let holder = lab.database.connect().await.unwrap();
    let lock = format!(r#"BEGIN; SELECT FROM "Invoice" WHERE "bookingId" <= {half} FOR UPDATE"#);
    holder.batch_execute(&lock).await.unwrap();

    let all: Vec<Event> = (0..events()).map(changed).collect();
    let flow = async {
        let mut tick = tokio::time::interval(PACE);
        for events in all.chunks(TOGETHER) {
            tick.tick().await;
            publish_all(&channel, &exchange, events).await;
        }
    };
    let strangers = async {
        let mut waited = Vec::new();
        for number in 0..events() / 200 {
            waited.push(stranger(&lab, &channel, &exchange, number).await);
        }
        waited
    };
    let ((), mut waited) = tokio::join!(flow, strangers);
    let applied = "SELECT count(*)::text FROM stripe.event WHERE outcome = 'applied'";
    let expected = ROWS + all.len() + waited.len();
    until(&lab.client, applied, &expected.to_string()).await;
    // Everything was in the way until here.
    let pending = "SELECT string_agg(DISTINCT reason, ' ') FROM stripe.pending_projection \
        WHERE id::integer <= 100";
    let reasons = lab.rows(pending).await;
    assert!(reasons[0].starts_with("check locked"), "{reasons:?}");
    waited.sort_unstable();
    let (events, strangers) = (all.len(), waited.len());
    let (median, worst) = (waited[strangers / 2], waited[strangers - 1]);
    println!(
        "{events} events of locked and refused rows; {strangers} of a stranger's: \
         median {median:.2?}, worst {worst:.2?}"
    );

    let (removal, released) = (
        r#"ALTER TABLE "Invoice" DROP CONSTRAINT "half""#,
        Instant::now(),
    );
    holder.batch_execute("COMMIT").await.unwrap();
    lab.client.batch_execute(removal).await.unwrap();
    let left = "SELECT count(*)::text FROM stripe.pending_projection";
    until(&lab.client, left, "0").await;
    println!("all rows are right after {:.1?}", released.elapsed());
    let total: usize = (events - ROWS..events).map(|number| 1_000 + number).sum();
    let shown =
        r#"SELECT (sum("amount") * 100)::bigint::text FROM "Invoice" WHERE "bookingId" <= 100"#;
    assert_eq!(lab.rows(shown).await, [total.to_string()]);
    stop.cancel();
    job.await.unwrap();
    until_acked(&broker, worker).await;
}
