//! Dead letters are kept as they came: what is wrong in itself until somebody
//! discards it, what is sent again byte for byte, and what a stranger published.
//! A death that is told late is no death of an event that was applied.

use crate::support::{
    Lab,
    operator::Operator,
    payments::paid,
    running::{LETTERS, Running, publish, publish_bytes, until},
};
use harness::test_servers::TestBroker;
use lapin::{BasicProperties, options::BasicPublishOptions};
use serde_json::{Value, json};
use store::{
    Database,
    dead_letter::{self, NewDeadLetter, Origin},
};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_data_fails_again_as_the_same_dead_letter_and_is_discarded() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("data"));
    let worker = Running::start(&broker, lab.worker_url()).await;
    let base = paid("x", "7");
    let with = |id: &str, change: &dyn Fn(&mut Value)| {
        let mut value = base.value();
        value["id"] = id.into();
        change(&mut value);
        value
    };
    let object = |field: &'static str, wrong: Value| {
        move |event: &mut Value| event["data"]["object"][field] = wrong.clone()
    };
    let cases = [
        (
            "unreadable_object",
            with("evt_1", &object("total", json!("45"))),
        ),
        (
            "other_object",
            with("evt_2", &object("object", json!("charge"))),
        ),
        (
            "nul_in_text",
            with("evt_3", &object("number", json!("a\0b"))),
        ),
        (
            "text_too_long",
            with("evt_4", &object("invoice_pdf", json!("x".repeat(9000)))),
        ),
        (
            "unknown_status",
            with("evt_5", &object("status", json!("melted"))),
        ),
        (
            "time_out_of_range",
            with("evt_6", &|event| event["created"] = json!(-1)),
        ),
        (
            "missing_account",
            with("evt_7", &|event| {
                event["type"] = "account.application.deauthorized".into();
                event["account"] = Value::Null;
                event["data"]["object"] = json!({ "id": "ca_1", "object": "application" });
            }),
        ),
        (
            "account_mismatch",
            with("evt_8", &|event| {
                event["type"] = "account.updated".into();
                event["data"]["object"] = json!({ "id": "acct_z", "object": "account" });
            }),
        ),
        (
            "invalid_booking_id",
            with(
                "evt_9",
                &object("metadata", json!({ "dialoomBookingId": "7a" })),
            ),
        ),
    ];
    for (_, event) in &cases {
        let kind = event["type"].as_str().unwrap();
        publish_bytes(&broker, kind, event.to_string().as_bytes()).await;
    }
    // What no one can read is kept too, by the hash of its bytes.
    publish_bytes(&broker, "invoice.paid", b"\xff not an event").await;
    let count = "SELECT state || ' ' || count(*) || ' ' || sum(attempts) FROM stripe.dead_letter GROUP BY state ORDER BY state";
    until(&lab.client, count, "dead 10 10").await;

    let operator = Operator::new(lab.worker_url(), &broker);
    for (reason, event) in &cases {
        let listed = operator
            .run(&format!("dead-letters list --reason {reason} --json"))
            .await
            .well();
        assert_eq!(listed.objects()[0]["id"], event["id"]);
    }
    let unreadable = operator
        .run("dead-letters list --reason unreadable_event --json")
        .await
        .well();
    let id = unreadable.objects()[0]["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("sha256-"), "{id}");
    let body = operator
        .command(&format!("dead-letters show {id} --body"))
        .output()
        .await
        .unwrap();
    assert_eq!(body.stdout, b"\xff not an event");

    let replayed = operator
        .run("dead-letters replay --all --yes --follow")
        .await;
    assert_eq!(replayed.code, 1, "{}", replayed.out);
    assert!(replayed.out.contains("10 dead"), "{}", replayed.out);
    until(&lab.client, count, "dead 10 20").await;

    let dry = operator
        .run("dead-letters discard --type invoice.* --dry-run")
        .await
        .well();
    assert!(
        dry.err.contains("7 dead letters would be discarded"),
        "{}",
        dry.err
    );
    operator
        .run("dead-letters discard --type invoice.* --yes")
        .await
        .well();
    until(&lab.client, count, "dead 3 6; discarded 7 14").await;
    operator
        .run(&format!("dead-letters discard {id} --yes --by bob"))
        .await
        .well();
    let by =
        "SELECT DISTINCT changed_by FROM stripe.dead_letter WHERE state = 'discarded' ORDER BY 1";
    until(&lab.client, by, "ada; bob").await;
    worker.stop().await;
    assert!(lab.invoices().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_restores_the_message_and_a_stranger_is_kept() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("exact"));
    let spy = broker.spy(["invoice.paid"]).await.unwrap();
    let worker = Running::start(&broker, lab.worker_url()).await;
    let mut event = paid("1", "x");
    event.object["description"] = "Größe \u{1F600}".into();
    publish(&broker, &event).await;
    until(&lab.client, LETTERS, "evt_1 invalid_booking_id dead 1").await;
    let operator = Operator::new(lab.worker_url(), &broker);
    let replayed = operator
        .run("dead-letters replay --all --yes --json")
        .await
        .well();
    assert_eq!(replayed.objects()[0]["published"], 1);
    until(&lab.client, LETTERS, "evt_1 invalid_booking_id dead 2").await;
    let seen = broker.take_all(&spy).await.unwrap();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].data, seen[1].data);
    assert_eq!(seen[0].routing_key, seen[1].routing_key);
    let mut headers = seen[1].properties.headers().clone().unwrap();
    let mut inner = headers.inner().clone();
    for ticket in ["replay_id", "replay_item", "replay_by"] {
        assert!(inner.remove(ticket).is_some(), "{ticket}");
    }
    headers = inner.into();
    assert_eq!(
        seen[1].properties.clone().with_headers(headers),
        seen[0].properties
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_publishes_to_the_dead_letters_is_kept_and_cannot_be_sent() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("stranger"));
    let worker = Running::start(&broker, lab.worker_url()).await;
    let connection = harness::servers::rabbitmq::connect(broker.url())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let options = BasicPublishOptions::default();
    let nothing = BasicProperties::default();
    channel
        .basic_publish(
            broker.dead().into(),
            "what.ever".into(),
            options,
            b"hello",
            nothing,
        )
        .await
        .unwrap();
    let letter = "SELECT reason || ' ' || routing_key || ' ' || state FROM stripe.dead_letter";
    until(&lab.client, letter, "unknown what.ever dead").await;
    let operator = Operator::new(lab.worker_url(), &broker);
    let replayed = operator.run("dead-letters replay --all --yes").await;
    assert_eq!(replayed.code, 1, "{}", replayed.out);
    assert!(
        replayed.out.contains("no queue takes their type"),
        "{}",
        replayed.out
    );
    until(&lab.client, letter, "unknown what.ever dead").await;
    worker.stop().await;
}

/// A unit's time in the ledger is when it began, which may be before the death
/// that it came after.
#[tokio::test(flavor = "multi_thread")]
async fn a_death_that_is_told_after_its_event_was_applied_is_resolved() {
    let lab = Lab::new().await;
    let event = paid("1", "1");
    assert_eq!(lab.take_one(&event).await, crate::support::APPLIED);
    let connection = Database::parse(lab.database.url()).unwrap().connect().await;
    let mut connection = connection.unwrap();
    let mut letter = NewDeadLetter {
        id: "evt_1".into(),
        event_id: Some("evt_1".into()),
        envelope: None,
        routing_key: event.kind.clone(),
        body: event.bytes(),
        properties: json!({}),
        reason: "booking_claimed_by_other_account".into(),
        detail: "Booking 1 belongs to another account.".into(),
        origin: Origin::Worker,
        death_key: "first".into(),
        died_at: chrono::DateTime::from_timestamp(harness::stripe::now() + 60, 0).unwrap(),
    };
    let mut record = async |letter: &NewDeadLetter| {
        let written = store::write(&mut connection, async |tx| {
            dead_letter::insert_many(tx, std::slice::from_ref(letter)).await
        });
        written.await.unwrap();
    };
    record(&letter).await;
    let state = "SELECT state FROM stripe.dead_letter";
    assert_eq!(lab.rows(state).await, ["resolved"]);
    // A handler that crashed says nothing in the ledger: the later one counts.
    (letter.origin, letter.death_key) = (Origin::DeliveryLimit, "second".into());
    record(&letter).await;
    assert_eq!(lab.rows(state).await, ["dead"]);
}
