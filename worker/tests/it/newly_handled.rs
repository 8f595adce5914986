//! Events of a type that an older worker did not handle are decided by a newer one.

use domain::{
    event::{self as events, Event as Decoded, EventData, IgnoreReason, Rejected},
    outcome::Decision,
    rules::Rules,
};
use harness::{stripe::Event, test_servers::TestBroker};
use shared::{amqp::AmqpUrl, topology::Names};
use store::{Database, archive_page::ArchivePolicy};
use tokio_util::sync::CancellationToken;
use worker::{health::Health, jobs::replay_newly_handled::ReplayNewlyHandled};

use crate::support::{
    Lab, OTHER_MODE, UNHANDLED,
    invoices::{event, paid, row},
    running::{Options, Running, publish, until},
};

const LEDGER: &str =
    "SELECT concat_ws(' ', id, outcome, reason, attempts, source) FROM stripe.event ORDER BY id";

/// The worker of a release that does not handle `invoice.paid`.
fn older(body: &[u8], rules: &Rules) -> Result<Decoded, Rejected> {
    let mut decoded = events::decode(body, rules)?;
    if decoded.header.event_type == "invoice.paid" {
        decoded.data = EventData::Ignored(IgnoreReason::UnhandledType);
    }
    Ok(decoded)
}

fn job(lab: &Lab, broker: &TestBroker) -> ReplayNewlyHandled {
    let database = Database::parse(lab.worker_url()).unwrap();
    ReplayNewlyHandled {
        pool: database.pool(),
        database,
        amqp: AmqpUrl::parse(broker.url()).unwrap(),
        names: Names::new(broker.prefix()).unwrap(),
        health: Health::default(),
    }
}

async fn ignored_by_the_older(lab: &Lab, broker: &TestBroker, event: &Event) {
    let options = Options {
        decode: older,
        ..Options::default()
    };
    let worker = Running::with(broker, broker.url(), lab.worker_url(), options).await;
    publish(broker, event).await;
    until(
        &lab.client,
        LEDGER,
        "evt_1 ignored unhandled_type 1 webhook",
    )
    .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_an_older_worker_ignored_is_decided_by_a_newer_one() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("newer"));
    ignored_by_the_older(&lab, &broker, &paid("evt_1", "7")).await;
    let worker = Running::start(&broker, lab.worker_url()).await;
    let (job, stop) = (job(&lab, &broker), CancellationToken::new());
    assert_eq!(job.replay(&stop).await.unwrap(), 1);
    until(&lab.client, LEDGER, "evt_1 applied 2 replay").await;
    assert_eq!(row(&lab).await, "7 in_1 PAID");
    let record = "SELECT replayed_by || ' ' || outcome FROM stripe.replay_item \
        JOIN stripe.replay ON id = replay_id";
    assert_eq!(lab.rows(record).await, ["worker applied"]);
    assert_eq!(job.replay(&stop).await.unwrap(), 0, "there is nothing left");
    worker.stop().await;
}

/// While both run, the older one may get it once more: it is sent again later, and not at
/// once for ever.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_older_worker_takes_again_waits_ten_minutes() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("both"));
    ignored_by_the_older(&lab, &broker, &paid("evt_1", "7")).await;
    let (job, stop) = (job(&lab, &broker), CancellationToken::new());
    assert_eq!(job.replay(&stop).await.unwrap(), 1);
    let options = Options {
        decode: older,
        ..Options::default()
    };
    let still = Running::with(&broker, broker.url(), lab.worker_url(), options).await;
    until(&lab.client, LEDGER, "evt_1 ignored unhandled_type 2 replay").await;
    still.stop().await;
    assert_eq!(job.replay(&stop).await.unwrap(), 0);

    let later = "UPDATE stripe.replay SET started_at = started_at - interval '10 minutes'";
    lab.client.batch_execute(later).await.unwrap();
    assert_eq!(job.replay(&stop).await.unwrap(), 1);
    let newer = Running::start(&broker, lab.worker_url()).await;
    until(&lab.client, LEDGER, "evt_1 applied 3 replay").await;
    newer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_handles_or_nobody_keeps_is_not_sent_again() {
    let (mut lab, broker) = (Lab::new().await, TestBroker::new("nobody"));
    let charge = serde_json::json!({ "id": "ch_1", "object": "charge" });
    assert_eq!(
        lab.take_one(&event("evt_1", "charge.succeeded", charge))
            .await,
        UNHANDLED
    );
    let mut live = paid("evt_2", "7");
    live.livemode = true;
    assert_eq!(lab.take_one(&live).await, OTHER_MODE);
    // As a worker leaves it that archives nothing.
    lab.executor.archive = ArchivePolicy::Never;
    let mut unkept = crate::support::delivery(&paid("evt_3", "7").bytes());
    unkept.decoded = unkept.decoded.map(|mut event| {
        event.data = EventData::Ignored(IgnoreReason::UnhandledType);
        event
    });
    let stop = CancellationToken::new();
    let taken = lab.executor.execute(&[unkept], &stop).await.unwrap();
    assert_eq!(
        taken,
        [worker::pipeline::executor::Disposition::Ack(
            Decision::Ignored(IgnoreReason::UnhandledType)
        )]
    );
    let archived = "SELECT id FROM stripe.event WHERE archive_page_id IS NOT NULL";
    assert_eq!(lab.rows(archived).await, ["evt_1"]);
    assert_eq!(job(&lab, &broker).replay(&stop).await.unwrap(), 0);
}
