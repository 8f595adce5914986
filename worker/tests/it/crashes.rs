//! Processes that die while they handle events. An event that kills its process is given
//! up after five tries alone; an event that only was in the hands of a process that died is
//! applied.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{
    poison::fill,
    support::{
        Lab,
        consuming::{Worker, until_acked},
        dying::{KILLER, process, run_until, worker_in_this_process},
        payments::{nth_paid, paid},
        running::{BOUND, LETTERS, Options, Running, declare, publish, until},
    },
};
use domain::{
    event::{self as events, Event as Decoded, Rejected},
    rules::Rules,
};
use futures_util::StreamExt;
use harness::{servers::rabbitmq, stripe::Event, test_servers::TestBroker};
use lapin::{options::BasicConsumeOptions, types::FieldTable};
use store::crash_note;
use worker::pipeline::alone::MAX_TRIES;

/// How often an event is delivered before it is handled apart: once together with others, and
/// then alone.
const DELIVERED: usize = 3;
/// Without the event that kills: a process that was killed between its commit and its ack leaves
/// it to one that can apply it.
const APPLIED: &str =
    "SELECT count(*)::text FROM stripe.event WHERE outcome = 'applied' AND id <> 'evt_killer'";
const NOTES: &str = "SELECT count(*)::text FROM stripe.crash_note";

fn panicking(body: &[u8], rules: &Rules) -> Result<Decoded, Rejected> {
    let event = events::decode(body, rules)?;
    assert_ne!(event.header.id, KILLER, "on purpose");
    Ok(event)
}

/// Has everything delivered so often to a consumer that goes without an ack.
pub async fn return_all(broker: &TestBroker, count: usize, times: usize) {
    for _ in 0..times {
        let connection = rabbitmq::connect(broker.url()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let queue = broker.worker_queue().into();
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(queue, "".into(), options, FieldTable::default());
        let messages = consumer.await.unwrap().take(count);
        assert_eq!(messages.count().await, count);
        connection.close(200, "gone".into()).await.unwrap();
        let (queue, count) = (broker.worker_queue(), u32::try_from(count).unwrap());
        broker.until_depth(&queue, count, BOUND).await.unwrap();
    }
}

/// Keeps the number of each try that begins in the table `tried`.
async fn keep_tries(lab: &Lab) {
    let keep = "CREATE TABLE tried (id text, tries integer); \
        CREATE FUNCTION keep_try() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS \
            'BEGIN INSERT INTO public.tried VALUES (NEW.id, NEW.tries); RETURN NEW; END'; \
        CREATE TRIGGER keep_try AFTER INSERT OR UPDATE ON stripe.crash_note \
            FOR EACH ROW EXECUTE FUNCTION keep_try()";
    lab.client.batch_execute(keep).await.unwrap();
}

/// Everything else is applied and acked, and no note is left.
async fn ends_well(lab: &Lab, broker: &TestBroker, applied: usize) {
    let worker = Worker::start(broker, broker.url(), lab.worker_url())
        .consuming()
        .await;
    until(&lab.client, APPLIED, &applied.to_string()).await;
    until(&lab.client, NOTES, "0").await;
    // The last in the queue: with it, everything before it is done.
    publish(broker, &paid("last", "100000")).await;
    until(&lab.client, APPLIED, &(applied + 1).to_string()).await;
    until_acked(broker, worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_kills_its_process_is_given_up_after_five_tries_alone() {
    worker_in_this_process().await;
    for workers in [1, 2] {
        let (lab, broker) = (Lab::new().await, TestBroker::new("killer"));
        declare(&broker).await;
        for index in 0..10 {
            publish(&broker, &nth_paid(index)).await;
        }
        let mut killer = paid("killer", "5000");
        killer.id = KILLER.into();
        publish(&broker, &killer).await;
        for index in 10..20 {
            publish(&broker, &nth_paid(index)).await;
        }
        keep_tries(&lab).await;
        let test = "crashes::an_event_that_kills_its_process_is_given_up_after_five_tries_alone";
        let start = || process(test, &broker, &lab);
        let (deaths, letters) = (
            AtomicUsize::new(0),
            "SELECT count(*)::text FROM stripe.dead_letter",
        );
        let run = || run_until(start, &deaths, &lab, letters, "1");
        match workers {
            1 => run().await,
            _ => {
                tokio::join!(run(), run());
            }
        }
        let given_up = DELIVERED + 1 + usize::try_from(MAX_TRIES).unwrap();
        assert_eq!(deaths.load(Ordering::Relaxed), given_up);
        let tries = format!("SELECT tries::text FROM tried WHERE id = '{KILLER}'");
        // The first one is together with others, and the last one gives it up.
        assert_eq!(lab.rows(&tries).await, ["0", "1", "2", "3", "4", "5", "6"]);
        until(&lab.client, LETTERS, "evt_killer crashes_worker dead 1").await;
        let kept = "SELECT concat_ws(' ', origin, type, account, convert_from(body, 'utf8') = $$BODY$$) \
            FROM stripe.dead_letter";
        let body = String::from_utf8(killer.bytes()).unwrap();
        let kept = lab.rows(&kept.replace("BODY", &body)).await;
        assert_eq!(kept, ["worker invoice.paid acct_a t"]);
        assert_eq!(lab.ledger(KILLER).await.unwrap().0, "dead");
        ends_well(&lab, &broker, 20).await;
    }
}

/// The notes say nothing of a worker that waits for a lock.
#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_killed_while_a_table_is_locked_condemn_nobody() {
    worker_in_this_process().await;
    let (lab, broker) = (Lab::new().await, TestBroker::new("bystanders"));
    declare(&broker).await;
    for index in 0..30 {
        publish(&broker, &nth_paid(index)).await;
    }
    keep_tries(&lab).await;
    let holder = lab.database.connect().await.unwrap();
    let lock = "BEGIN; LOCK TABLE stripe.event IN ACCESS EXCLUSIVE MODE";
    holder.batch_execute(lock).await.unwrap();
    let test = "crashes::workers_that_are_killed_while_a_table_is_locked_condemn_nobody";
    let waits = "SELECT count(*)::text FROM pg_locks \
        WHERE NOT granted AND relation = 'stripe.event'::regclass";
    let queue = broker.worker_queue();
    for _ in 0..24 {
        let mut child = process(test, &broker, &lab);
        broker.until_depth(&queue, 0, BOUND).await.unwrap();
        until(&lab.client, waits, "1").await;
        child.kill().await.unwrap();
        broker.until_depth(&queue, 30, BOUND).await.unwrap();
        until(&lab.client, waits, "0").await;
    }
    assert!(lab.rows("SELECT id FROM tried").await.is_empty());
    holder.batch_execute("ROLLBACK").await.unwrap();
    ends_well(&lab, &broker, 30).await;
    // They were handled together.
    let tried = "SELECT count(*) || ' ' || max(tries) FROM tried";
    assert_eq!(lab.rows(tried).await, ["30 0"]);
    assert_eq!(lab.rows(LETTERS).await, Vec::<String>::new());
}

/// A full prefetch of them is handled in some transactions, and not in one for each.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_came_back_often_are_handled_together() {
    let count = usize::from(worker::pipeline::consumer::PREFETCH);
    let (lab, broker) = (Lab::new().await, TestBroker::new("suspects"));
    declare(&broker).await;
    let all: Vec<Event> = (0..count).map(nth_paid).collect();
    fill(&broker, &all).await;
    return_all(&broker, count, DELIVERED).await;
    keep_tries(&lab).await;
    let worker = Running::start(&broker, lab.worker_url()).await;
    until(&lab.client, APPLIED, &count.to_string()).await;
    worker.stop().await;
    let tried = "SELECT count(*) || ' ' || max(tries) FROM tried";
    assert_eq!(lab.rows(tried).await, [format!("{count} 0")]);
    assert_eq!(lab.rows(NOTES).await, ["0"]);
    // A job writes the main app's rows.
    lab.project_pending().await;
    assert_eq!(lab.invoices().await.len(), count);
}

/// The notes say whose process died: each of these is handled alone, and none counts for it.
#[tokio::test(flavor = "multi_thread")]
async fn events_whose_worker_died_together_are_handled_alone_and_others_are_not() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("noted"));
    declare(&broker).await;
    let all: Vec<Event> = (0..30).map(nth_paid).collect();
    fill(&broker, &all).await;
    return_all(&broker, 30, DELIVERED).await;
    let died = "INSERT INTO stripe.crash_note (id, tries) \
        SELECT 'evt_' || n, 0 FROM generate_series(10, 19) AS n";
    lab.client.batch_execute(died).await.unwrap();
    keep_tries(&lab).await;
    ends_well(&lab, &broker, 30).await;
    let alone = "SELECT string_agg(id, ' ' ORDER BY id) FROM tried WHERE tries = 1";
    let ids: Vec<String> = (10..20).map(|n| format!("evt_{n}")).collect();
    assert_eq!(lab.rows(alone).await, [ids.join(" ")]);
    let tried = "SELECT count(*) || ' ' || max(tries) FROM tried";
    assert_eq!(lab.rows(tried).await, ["30 1"]);
    assert_eq!(lab.rows(LETTERS).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_panics_is_given_up_after_five_tries_alone_in_place() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("panics"));
    keep_tries(&lab).await;
    let options = Options {
        decode: panicking,
        ..Options::default()
    };
    let worker = Running::with(&broker, broker.url(), lab.worker_url(), options).await;
    let mut poison = paid("killer", "5000");
    poison.id = KILLER.into();
    publish(&broker, &poison).await;
    publish(&broker, &nth_paid(0)).await;
    until(&lab.client, LETTERS, "evt_killer crashes_worker dead 1").await;
    until(&lab.client, APPLIED, "1").await;
    let panics = DELIVERED + 1 + usize::try_from(MAX_TRIES).unwrap();
    assert_eq!(worker.metrics.crashes.get(), u64::try_from(panics).unwrap());
    let tries = "SELECT tries::text FROM tried";
    assert_eq!(lab.rows(tries).await, ["0", "1", "2", "3", "4", "5", "6"]);
    assert_eq!(lab.rows(NOTES).await, ["0"]);

    // It comes once more, without a note of what was.
    lab.client.batch_execute("DELETE FROM tried").await.unwrap();
    publish(&broker, &poison).await;
    until(&lab.client, LETTERS, "evt_killer crashes_worker dead 2").await;
    assert_eq!(lab.rows(tries).await, ["0", "1", "2", "3", "4", "5", "6"]);
    worker.stop().await;
}

/// Whoever holds a row is in the way of tries, which are no deaths.
#[tokio::test(flavor = "multi_thread")]
async fn a_try_that_the_database_ends_does_not_count() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("inconclusive"));
    keep_tries(&lab).await;
    let worker = Running::start(&broker, lab.worker_url()).await;
    publish(&broker, &nth_paid(0)).await;
    until(&lab.client, APPLIED, "1").await;
    worker.stop().await;
    let mut again = nth_paid(0);
    again.id = "evt_again".into();
    again.created += 1;
    again.object["number"] = "A-2".into();
    publish(&broker, &again).await;
    return_all(&broker, 1, DELIVERED).await;

    let holder = lab.database.connect().await.unwrap();
    let lock = "BEGIN; SELECT FROM stripe.invoice FOR UPDATE";
    holder.batch_execute(lock).await.unwrap();
    let worker = Running::start(&broker, lab.worker_url()).await;
    let begun = "SELECT (count(*) > 5)::text FROM tried";
    until(&lab.client, begun, "true").await;
    assert_eq!(lab.rows("SELECT max(tries)::text FROM tried").await, ["1"]);
    holder.batch_execute("ROLLBACK").await.unwrap();
    until(&lab.client, APPLIED, "2").await;
    assert_eq!(lab.rows(NOTES).await, ["0"]);
    worker.stop().await;
}

/// The main app's lock makes no try last longer, in which a worker could be killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_try_does_not_wait_for_the_main_app() {
    let (lab, broker) = (Lab::with_bookings(&[1]).await, TestBroker::new("app"));
    declare(&broker).await;
    publish(&broker, &nth_paid(0)).await;
    return_all(&broker, 1, DELIVERED).await;
    let holder = lab.database.connect().await.unwrap();
    let lock = r#"BEGIN; LOCK TABLE "Invoice", "Booking" IN ACCESS EXCLUSIVE MODE"#;
    holder.batch_execute(lock).await.unwrap();
    let worker = Running::start(&broker, lab.worker_url()).await;
    until(&lab.client, APPLIED, "1").await;
    assert_eq!(lab.rows(NOTES).await, ["0"]);
    holder.batch_execute("ROLLBACK").await.unwrap();
    lab.project_pending().await;
    assert_eq!(lab.invoices().await.len(), 1);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_is_made_while_no_table_of_a_batch_is_locked() {
    let lab = Lab::new().await;
    let tables = "SELECT relname::text FROM pg_class WHERE relnamespace = 'stripe'::regnamespace \
        AND relkind = 'r' AND relname NOT IN ('__diesel_schema_migrations', 'deployment', 'changes_setting', \
            'made_here', 'api_read', 'command') ORDER BY relname";
    // A table that batches write belongs to the list.
    assert_eq!(lab.rows(tables).await, crash_note::TABLES);
}
