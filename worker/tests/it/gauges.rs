//! What the gauges show of the tables and of the queue.

use std::time::Duration;

use harness::{
    stripe::Event,
    test_servers::TestBroker,
    wait::{self, Seen},
};
use prometheus_client::{encoding::text, registry::Registry};
use store::{Database, job_lock};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use worker::{
    health::Health,
    jobs::{self, Job, JobError, count_backlog::CountBacklog},
    metrics::{JobMetrics, Metrics},
};

use crate::support::{
    Lab,
    consuming::{Worker, until_rows},
    payments::nth_paid,
    running::{BOUND, declare, publish},
};

/// The metrics as Prometheus reads them.
struct Scrape(Registry);

impl Scrape {
    fn of(metrics: &Metrics, health: &Health) -> Self {
        let mut registry = Registry::default();
        metrics.register(&mut registry, health);
        Self(registry)
    }

    /// The value of a line; `None` where there is no such line.
    fn value(&self, name: &str) -> Option<f64> {
        let mut lines = String::new();
        text::encode(&mut lines, &self.0).unwrap();
        let line = lines.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().parse().unwrap())
    }
}

fn counting(lab: &Lab, metrics: &Metrics) -> CountBacklog {
    CountBacklog {
        pool: lab.executor.pool.clone(),
        gauges: metrics.backlog.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gauges_show_what_waits_and_follow_when_it_waits_no_more() {
    let lab = Lab::with_bookings(&[1, 2]).await;
    let stop = CancellationToken::new();
    let metrics = Metrics::default();
    let shown = Scrape::of(&metrics, &Health::default());
    let check = r#"worker_pending_projections{kind="booking",reason="check"}"#;
    let locked = r#"worker_pending_projections{kind="host",reason="locked"}"#;
    let missing = r#"worker_invoices_waiting{reason="booking_missing"}"#;
    let unnamed = r#"worker_invoices_waiting{reason="no_booking"}"#;
    let dead = "worker_dead_letters_open";
    assert_eq!(shown.value(check), None, "nothing was counted");

    let refuse = r#"ALTER TABLE "Invoice" ADD CONSTRAINT "not_two" CHECK ("bookingId" <> 2)"#;
    lab.client.batch_execute(refuse).await.unwrap();
    let mut events: Vec<Event> = (0..4).map(nth_paid).collect();
    events[3].object["status"] = "melted".into();
    lab.take(&events).await;
    let mut job = counting(&lab, &metrics);
    job.run_once(&stop).await.unwrap();
    for (name, count) in [
        (check, 1.0),
        (locked, 0.0),
        (missing, 1.0),
        (unnamed, 0.0),
        (dead, 1.0),
        ("worker_stripe_reads_30_days", 0.0),
        ("worker_stripe_reads_allowed_30_days", 10_000.0),
    ] {
        assert_eq!(shown.value(name), Some(count), "{name}");
    }

    let allow = r#"ALTER TABLE "Invoice" DROP CONSTRAINT "not_two""#;
    lab.client.batch_execute(allow).await.unwrap();
    lab.book(3).await;
    lab.project_pending().await;
    let discard = "UPDATE stripe.dead_letter SET state = 'discarded'";
    lab.client.batch_execute(discard).await.unwrap();
    job.run_once(&stop).await.unwrap();
    for name in [check, missing, dead] {
        assert_eq!(shown.value(name), Some(0.0), "{name}");
    }

    // Numbers that can no longer be counted are not shown.
    let rename = "ALTER TABLE stripe.pending_projection RENAME TO away";
    lab.client.batch_execute(rename).await.unwrap();
    job.run_once(&stop).await.unwrap_err();
    for name in [check, missing, dead] {
        assert_eq!(shown.value(name), None, "{name}");
    }
}

/// Another job of the kind would leave its run to the worker that has the lock.
#[tokio::test(flavor = "multi_thread")]
async fn every_worker_counts_for_itself() {
    let lab = Lab::new().await;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let conn = Database::parse(lab.worker_url()).unwrap().connect().await;
    let conn = conn.unwrap();
    assert!(job_lock::take(&conn, CountBacklog::NAME).await.unwrap());
    let metrics = [Metrics::default(), Metrics::default()];
    for metrics in &metrics {
        let job = counting(&lab, metrics);
        let pool = lab.executor.pool.clone();
        tasks.spawn(jobs::run(job, pool, JobMetrics::default(), stop.clone()));
    }
    for metrics in &metrics {
        let shown = Scrape::of(metrics, &Health::default());
        wait::until("a count", BOUND, async || {
            match shown.value("worker_dead_letters_open") {
                Some(_) => Seen::Reached(()),
                None => Seen::NotYet("nothing is shown".into()),
            }
        })
        .await
        .unwrap();
    }
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

/// An operator tells 100,000 invoices that wait from one by the gauge, and pays nothing for it:
/// no row is read, and the others are not looked at.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_waiting_invoices_are_counted_by_their_index() {
    let lab = Lab::new().await;
    let rows = "INSERT INTO stripe.invoice \
            (id, account, status, event_created, event_id, waiting) \
        SELECT 'in_w' || i, 'acct_a', 'paid', now(), 'evt_w' || i, \
            CASE WHEN i <= 100000 THEN 'no_booking' END FROM generate_series(1, 120000) i";
    // The server's own ANALYZE of the new rows would hold a snapshot, and pages that VACUUM
    // meets meanwhile are not marked as visible to all, so that rows would be read after all.
    let own = "ALTER TABLE stripe.invoice SET (autovacuum_enabled = false)";
    lab.client.batch_execute(own).await.unwrap();
    lab.client.batch_execute(rows).await.unwrap();
    let visible = "SELECT concat_ws(' of ', relallvisible, relpages), relallvisible = relpages \
        FROM pg_class WHERE oid = 'stripe.invoice'::regclass";
    wait::until("every page visible to all", BOUND, async || {
        let vacuum = "VACUUM ANALYZE stripe.invoice";
        lab.client.batch_execute(vacuum).await.unwrap();
        let row = lab.client.query_one(visible, &[]).await.unwrap();
        match row.get::<_, bool>(1) {
            true => Seen::Reached(()),
            false => Seen::NotYet(row.get(0)),
        }
    })
    .await
    .unwrap();
    lab.client
        .batch_execute("SELECT pg_stat_reset()")
        .await
        .unwrap();
    let metrics = Metrics::default();
    let shown = Scrape::of(&metrics, &Health::default());
    let mut job = counting(&lab, &metrics);
    job.run_once(&CancellationToken::new()).await.unwrap();
    let waiting = shown.value(r#"worker_invoices_waiting{reason="no_booking"}"#);
    assert_eq!(waiting, Some(100_000.0));

    // A connection hands its counts over at the latest when it ends.
    let Lab {
        database, executor, ..
    } = lab;
    drop((job, executor));
    let client = database.connect().await.unwrap();
    let scans = "SELECT concat_ws(' ', seq_scan, idx_scan > 0, idx_tup_fetch) \
        FROM pg_stat_user_tables WHERE schemaname = 'stripe' AND relname = 'invoice'";
    wait::until("the counts handed over", BOUND, async || {
        let row = client.query_one(scans, &[]).await.unwrap();
        match row.get::<_, String>(0) {
            seen if seen == "0 t 0" => Seen::Reached(()),
            seen => Seen::NotYet(seen),
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gauges_show_what_is_in_hand_and_the_last_commit() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("gauges"));
    declare(&broker).await;
    let worker = Worker::start(&broker, broker.url(), lab.worker_url());
    let worker = worker.consuming().await;
    let shown = Scrape::of(&Metrics::default(), &worker.health);
    let (in_hand, commit) = (
        "worker_deliveries_in_hand",
        "worker_last_commit_timestamp_seconds",
    );
    assert_eq!(shown.value("worker_consuming"), Some(1.0));
    assert_eq!(
        (shown.value(in_hand), shown.value(commit)),
        (Some(0.0), None)
    );
    let holder = lab.database.connect().await.unwrap();
    let lock = "BEGIN; LOCK TABLE stripe.event IN ACCESS EXCLUSIVE MODE";
    holder.batch_execute(lock).await.unwrap();
    publish(&broker, &nth_paid(0)).await;
    let until = async |name: &str, is_wanted: fn(f64) -> bool| {
        wait::until(name, BOUND, async || match shown.value(name) {
            Some(value) if is_wanted(value) => Seen::Reached(()),
            seen => Seen::NotYet(format!("{seen:?}")),
        })
        .await
        .unwrap();
    };
    until(in_hand, |count| count > 0.5).await;
    until("worker_oldest_delivery_in_hand_seconds", |age| age > 0.0).await;
    assert_eq!(shown.value(commit), None);
    holder.batch_execute("COMMIT").await.unwrap();
    until_rows(&lab, 1).await;
    until(in_hand, |count| count < 0.5).await;
    until(commit, |at| at > 1_700_000_000.0).await;
    worker.stop().await;
    assert_eq!(shown.value("worker_consuming"), Some(0.0));
}

/// A job that does nothing.
struct Idle;

impl Job for Idle {
    const NAME: &'static str = "idle";
    const EVERY: Duration = Duration::from_millis(20);

    async fn run_once(&mut self, _: &CancellationToken) -> Result<(), JobError> {
        Ok(())
    }
}

/// A worker that is paused in a run keeps the job's lock.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_goes_on_elsewhere_is_shown_with_its_length() {
    let lab = Lab::new().await;
    let metrics = Metrics::default();
    let shown = Scrape::of(&metrics, &Health::default());
    let gauge = r#"worker_job_runs_elsewhere_seconds{job="idle"}"#;
    let database = Database::parse(lab.database.url()).unwrap();
    let paused = database.connect().await.unwrap();
    assert!(job_lock::take(&paused, Idle::NAME).await.unwrap());
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let stop = CancellationToken::new();
    let pool = database.pool();
    let running = tokio::spawn(jobs::run(Idle, pool, metrics.jobs.clone(), stop.clone()));
    let until = async |what: &str, is_it: fn(f64) -> bool| {
        wait::until(what, BOUND, async || match shown.value(gauge) {
            Some(seconds) if is_it(seconds) => Seen::Reached(()),
            seen => Seen::NotYet(format!("{seen:?}")),
        })
        .await
        .unwrap();
    };
    until("a run elsewhere", |seconds| (1.1..60.0).contains(&seconds)).await;
    // Its session ends: the job runs here.
    drop(paused);
    until("a run here", |seconds| seconds == 0.0).await;
    stop.cancel();
    running.await.unwrap();
}
