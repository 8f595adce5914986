//! Replays that are killed, repeated and run twice at once; and events that were
//! applied, judged again.

use std::time::Duration;

use crate::support::{
    Lab,
    operator::{Operator, done},
    running::{BOUND, Options, Running, declare, publish, until},
};
use harness::{
    proxy::Proxy,
    stripe::{Event, Invoice},
    test_servers::TestBroker,
    wait::{self, Seen},
};
use store::archive_page::ArchivePolicy;

const STATES: &str = "SELECT state || ' ' || count(*) || ' ' || sum(attempts) \
    FROM stripe.dead_letter GROUP BY state ORDER BY state";
const LEDGER: &str = "SELECT outcome || ' ' || count(*) || ' ' || sum(attempts) \
    FROM stripe.event GROUP BY outcome ORDER BY outcome";
const CHECK: &str =
    "ALTER TABLE stripe.invoice ADD CONSTRAINT cheap CHECK (total < 1000) NOT VALID";

fn paid(index: usize) -> Event {
    let object = Invoice {
        id: format!("in_{index}"),
        booking: Some((index + 1).to_string()),
        ..Invoice::default()
    };
    Event::new(&format!("evt_{index}"), "invoice.paid", object.value()).of_account("acct_a")
}

/// So many dead letters, whose cause is put right since.
async fn dead(lab: &Lab, broker: &TestBroker, worker: Running, count: usize) {
    lab.client.batch_execute(CHECK).await.unwrap();
    for index in 0..count {
        publish(broker, &paid(index)).await;
    }
    until(&lab.client, STATES, &format!("dead {count} {count}")).await;
    worker.stop().await;
    lab.client
        .batch_execute("ALTER TABLE stripe.invoice DROP CONSTRAINT cheap")
        .await
        .unwrap();
}

async fn until_published(lab: &Lab, at_least: i64) {
    wait::until("a replay under way", BOUND, async || {
        let query = "SELECT count(*) FROM stripe.replay_item WHERE published_at IS NOT NULL";
        let row = lab.client.query_one(query, &[]).await.unwrap();
        match row.get::<_, i64>(0) {
            count if count >= at_least => Seen::Reached(()),
            count => Seen::NotYet(format!("{count} sent")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replay_loses_nothing_and_repeats_nothing() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("killed"));
    let worker = Running::start(&broker, lab.worker_url()).await;
    dead(&lab, &broker, worker, 60).await;
    let operator = Operator::new(lab.worker_url(), &broker);
    let mut killed = operator.spawn("dead-letters replay --all --yes --rate 10");
    until_published(&lab, 20).await;
    killed.start_kill().unwrap();
    killed.wait().await.unwrap();
    // As if it had been killed between taking and sending.
    lab.client
        .batch_execute(
            "WITH taken AS (UPDATE stripe.dead_letter SET state = 'replayed', replay_id = 1 \
                WHERE id IN (SELECT id FROM stripe.dead_letter WHERE state = 'dead' LIMIT 5) RETURNING id) \
             INSERT INTO stripe.replay_item (replay_id, item_id) SELECT 1, id FROM taken",
        )
        .await
        .unwrap();
    let worker = Running::start(&broker, lab.worker_url()).await;
    operator
        .run("dead-letters replay --all --yes --follow")
        .await
        .well();
    until(&lab.client, STATES, "resolved 60 60").await;
    assert_eq!(
        lab.rows(LEDGER).await,
        ["applied 60 120"],
        "each judged twice"
    );
    assert_eq!(lab.invoices().await.len(), 60);
    let twice = "SELECT item_id FROM stripe.replay_item WHERE published_at IS NOT NULL \
        GROUP BY item_id HAVING count(*) > 1";
    assert_eq!(lab.rows(twice).await, Vec::<String>::new());
    let abandoned = "SELECT count(*)::text FROM stripe.replay_item WHERE outcome = 'abandoned'";
    assert_eq!(lab.rows(abandoned).await, ["5"]);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replays_at_once_share_the_work() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("twice"));
    let worker = Running::start(&broker, lab.worker_url()).await;
    dead(&lab, &broker, worker, 60).await;
    let worker = Running::start(&broker, lab.worker_url()).await;
    let operator = Operator::new(lab.worker_url(), &broker);
    let replay = || operator.run("dead-letters replay --all --yes --follow --rate 20 --json");
    let (one, two) = tokio::join!(replay(), replay());
    let sent =
        |done: &crate::support::operator::Done| done.objects()[0]["published"].as_u64().unwrap();
    let (one, two) = (one.well(), two.well());
    assert_eq!(sent(&one) + sent(&two), 60);
    assert!(sent(&one) > 0 && sent(&two) > 0);
    until(&lab.client, STATES, "resolved 60 60").await;
    assert_eq!(lab.rows(LEDGER).await, ["applied 60 120"]);
    worker.stop().await;
}

/// The broker hands back what has no queue among the confirms of what has one.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_queue_takes_is_told_apart_from_what_one_takes() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("mixed"));
    declare(&broker).await;
    lab.client
        .batch_execute(
            r#"INSERT INTO stripe.dead_letter (id, routing_key, body, properties, reason, detail,
                origin, death_key, first_at, last_at)
            SELECT 'evt_' || i, CASE WHEN i % 3 = 0 THEN 'nobody.wants' ELSE 'invoice.paid' END,
                '{}', '{}', 'other_object', '', 'worker', '', now(), now()
            FROM generate_series(1, 120) i"#,
        )
        .await
        .unwrap();
    let operator = Operator::new(lab.worker_url(), &broker);
    let done = operator.run("dead-letters replay --all --yes --json").await;
    assert_eq!(done.code, 1, "{}", done.err);
    assert_eq!(done.objects()[0]["published"], 80);
    assert_eq!(
        lab.rows(
            "SELECT concat_ws(' ', d.routing_key, d.state, i.outcome, count(*)) \
             FROM stripe.dead_letter d JOIN stripe.replay_item i ON i.item_id = d.id \
             GROUP BY d.routing_key, d.state, i.outcome ORDER BY 1"
        )
        .await,
        [
            "invoice.paid replayed 80",
            "nobody.wants dead unroutable 40"
        ]
    );
    broker
        .until_depth(&broker.worker_queue(), 80, BOUND)
        .await
        .unwrap();
}

/// The broker closes the channel on a message with such a header.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_broker_does_not_take_holds_up_no_other() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("unacceptable"));
    declare(&broker).await;
    lab.client
        .batch_execute(
            r#"INSERT INTO stripe.dead_letter (id, routing_key, body, properties, reason, detail,
                origin, death_key, first_at, last_at)
            SELECT 'evt_' || i, 'invoice.paid', '{}',
                CASE i WHEN 3 THEN '{"headers": [["CC", {"text": "no list"}]]}'::jsonb
                    WHEN 60 THEN '{"headers": [["CC", {"i32": 1}]]}'
                    ELSE '{"user_id": "somebody else"}' END,
                'other_object', '', 'worker', '', now(), now()
            FROM generate_series(1, 120) i"#,
        )
        .await
        .unwrap();
    let operator = Operator::new(lab.worker_url(), &broker);
    let done = operator.run("dead-letters replay --all --yes --json").await;
    assert_eq!(done.code, 1, "{}", done.err);
    assert_eq!(done.objects()[0]["published"], 118);
    assert_eq!(done.objects()[0]["unacceptable"], 2);
    assert_eq!(
        lab.rows("SELECT id FROM stripe.dead_letter WHERE state = 'dead' ORDER BY 1")
            .await,
        ["evt_3", "evt_60"]
    );
    assert_eq!(
        lab.rows(
            "SELECT DISTINCT item_id FROM stripe.replay_item WHERE outcome = 'abandoned' ORDER BY 1"
        )
        .await,
        ["evt_3", "evt_60"]
    );
    // Each of the others at least once; a batch may have been sent in part before.
    let queue = broker.worker_queue();
    let sent = broker.take_all(&queue).await.unwrap();
    let bodies = sent.len();
    assert!((118..118 + 100).contains(&bodies), "{bodies}");
    let again = operator.run("dead-letters replay evt_3 --yes").await;
    assert_eq!(again.code, 1, "{}", again.err);
    assert!(
        again.out.contains("1 not sent: the broker does not take"),
        "{}",
        again.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_after_the_batch_with_a_summary() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("ctrlc"));
    let worker = Running::start(&broker, lab.worker_url()).await;
    dead(&lab, &broker, worker, 40).await;
    let operator = Operator::new(lab.worker_url(), &broker);
    let replay = operator.spawn("dead-letters replay --all --yes --rate 5");
    until_published(&lab, 5).await;
    let pid = replay.id().unwrap().to_string();
    let mut kill = tokio::process::Command::new("kill");
    let killed = kill.args(["-INT", &pid]).status().await.unwrap();
    assert!(killed.success());
    let replay = done(&replay.wait_with_output().await.unwrap());
    assert_eq!(replay.code, 130, "{}{}", replay.out, replay.err);
    assert!(replay.out.contains("sent."), "{}", replay.out);
    assert!(replay.err.contains("for the rest"), "{}", replay.err);
    let open = "SELECT count(*)::text FROM stripe.replay_item WHERE published_at IS NULL";
    assert_eq!(lab.rows(open).await, ["0"]);

    let worker = Running::start(&broker, lab.worker_url()).await;
    operator
        .run("dead-letters replay --all --yes --follow")
        .await
        .well();
    until(&lab.client, STATES, "resolved 40 40").await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_goes_away_in_the_middle_costs_no_dead_letter() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("gone"));
    let worker = Running::start(&broker, lab.worker_url()).await;
    dead(&lab, &broker, worker, 40).await;
    let proxy = Proxy::before(broker.url(), 5672).await.unwrap();
    let operator = Operator::new(lab.worker_url(), &broker).with("AMQP_URL", proxy.url());
    let replay = operator.spawn("dead-letters replay --all --yes --rate 10");
    until_published(&lab, 10).await;
    proxy.cut();
    let replay = done(&replay.wait_with_output().await.unwrap());
    assert_eq!(replay.code, 1, "{}{}", replay.out, replay.err);
    assert!(replay.err.contains("dead as before"), "{}", replay.err);
    let stuck = "SELECT count(*)::text FROM stripe.dead_letter d WHERE state = 'replayed' AND NOT EXISTS \
        (SELECT FROM stripe.replay_item i WHERE i.item_id = d.id AND i.published_at IS NOT NULL)";
    assert_eq!(lab.rows(stuck).await, ["0"]);

    proxy.restore();
    let worker = Running::start(&broker, lab.worker_url()).await;
    operator
        .run("dead-letters replay --all --yes --follow")
        .await
        .well();
    until(&lab.client, LEDGER, "applied 40 80").await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applied_events_are_judged_again_once_a_run() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("again"));
    let worker = Running::start(&broker, lab.worker_url()).await;
    for index in 0..3 {
        publish(&broker, &paid(index)).await;
    }
    until(&lab.client, LEDGER, "applied 3 3").await;
    let state = lab.state().await;
    // A handler had written nonsense.
    lab.client
        .batch_execute(
            r#"UPDATE "Invoice" SET "amount" = 1; UPDATE stripe.invoice SET total = 100"#,
        )
        .await
        .unwrap();
    let operator = Operator::new(lab.worker_url(), &broker);
    let replayed = operator
        .run("events replay --type invoice.* --since 1h --yes --follow --json")
        .await
        .well();
    assert_eq!(replayed.objects()[0]["published"], 3);
    assert_eq!(lab.rows(LEDGER).await, ["applied 3 6"]);
    assert_eq!(lab.state().await, state, "put right");
    let shown = operator.run("events show evt_1 --json").await.well();
    let shown = &shown.objects()[0];
    assert_eq!(shown["source"], "replay");
    assert_eq!(shown["replays"][0]["outcome"], "applied");
    assert_eq!(shown["replays"][0]["by"], "ada");
    assert_eq!(shown["trace_id"], "0af7651916cd43dd8448eb211c80319c");

    // A message of that run that comes once more changes nothing.
    let copy = broker.spy(["invoice.paid"]).await.unwrap();
    operator
        .run("events replay evt_1 --yes --follow")
        .await
        .well();
    let message = broker.take_all(&copy).await.unwrap().remove(0);
    assert_eq!(message.data, paid(1).bytes());
    broker
        .publish("invoice.paid", &message.data, message.properties)
        .await
        .unwrap();
    publish(&broker, &paid(7)).await;
    until(&lab.client, LEDGER, "applied 4 8").await;
    worker.stop().await;
}

/// Its bytes were kept with the dead letters, and stay there when it is applied
/// after all.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_dead_and_is_accepted_after_all_can_be_judged_again() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("accepted"));
    let worker = Running::start(&broker, lab.worker_url()).await;
    let claim = |id: &str, account: &str, seconds: i64| {
        let object = Invoice {
            id: format!("in_{account}"),
            booking: Some("7".into()),
            ..Invoice::default()
        };
        let event = Event::new(id, "invoice.paid", object.value()).of_account(account);
        let at = event.created + seconds;
        event.at(at)
    };
    let letters = "SELECT concat_ws(' ', id, state) FROM stripe.dead_letter ORDER BY id";
    publish(&broker, &claim("evt_1", "acct_a", 10)).await;
    publish(&broker, &claim("evt_2", "acct_b", 20)).await;
    until(&lab.client, letters, "evt_2 dead").await;
    publish(&broker, &claim("evt_3", "acct_b", 0)).await;
    until(&lab.client, letters, "evt_1 dead; evt_2 resolved").await;
    let operator = Operator::new(lab.worker_url(), &broker);
    let replayed = operator
        .run("events replay evt_2 --yes --follow --json")
        .await
        .well();
    assert_eq!(replayed.objects()[0]["published"], 1, "{}", replayed.out);
    assert_eq!(replayed.objects()[1]["outcome"], "applied");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_kept_bytes_there_is_nothing_to_judge_again() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("never"));
    let options = Options {
        archive: ArchivePolicy::Never,
        ..Options::default()
    };
    let worker = Running::with(&broker, broker.url(), lab.worker_url(), options).await;
    publish(&broker, &paid(0)).await;
    until(&lab.client, LEDGER, "applied 1 1").await;
    assert_eq!(
        lab.rows("SELECT count(*)::text FROM stripe.event_archive")
            .await,
        ["0"]
    );
    let operator = Operator::new(lab.worker_url(), &broker);
    let replayed = operator.run("events replay --all --yes").await;
    assert_eq!(replayed.code, 1);
    assert!(
        replayed
            .out
            .contains("1 not sent: their bytes are not archived"),
        "{}",
        replayed.out
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_the_dead_letters_wait_in_their_queue() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("waits"));
    let proxy = Proxy::before(lab.worker_url(), 5432).await.unwrap();
    let options = Options::default();
    let worker = Running::with(&broker, broker.url(), proxy.url(), options).await;
    proxy.cut();
    let connection = harness::servers::rabbitmq::connect(broker.url())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    for index in 0..5 {
        let body = paid(index).bytes();
        let properties = crate::support::running::properties(&body);
        channel
            .basic_publish(
                broker.dead().into(),
                "invoice.paid".into(),
                lapin::options::BasicPublishOptions::default(),
                &body,
                properties,
            )
            .await
            .unwrap();
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    proxy.restore();
    until(&lab.client, STATES, "dead 5 5").await;
    worker.stop().await;
    assert_eq!(broker.depth(&broker.dead()).await.unwrap(), 0);
}
