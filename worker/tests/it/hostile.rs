//! Messages that our ingest would not publish, and a database that says nothing:
//! none of them may hold up the rest.

use std::time::{Duration, Instant};

use crate::support::{
    Lab,
    running::{Running, properties, until},
};
use harness::{
    stripe::{Event, Invoice},
    test_servers::TestBroker,
};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use store::Database;
use tokio_util::sync::CancellationToken;
use worker::{amqp::headers, jobs::project_pending::ProjectPending};

fn paid(id: &str) -> Vec<u8> {
    let object = Invoice {
        id: format!("in_{id}"),
        booking: Some("7".into()),
        ..Invoice::default()
    };
    Event::new(&format!("evt_{id}"), "invoice.paid", object.value())
        .of_account("acct_a")
        .bytes()
}

/// The properties of these bytes, with these headers.
fn with_headers(body: &[u8], changed: &[(&str, AMQPValue)]) -> BasicProperties {
    let properties = properties(body);
    let mut headers: FieldTable = properties.headers().clone().unwrap_or_default();
    for (name, value) in changed {
        headers.insert((*name).into(), value.clone());
    }
    properties.with_headers(headers)
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// A header that Postgres cannot keep would come again for ever.
#[tokio::test(flavor = "multi_thread")]
async fn headers_that_cannot_be_kept_do_not_hold_an_event_up() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("headers"));
    let worker = Running::start(&broker, lab.worker_url()).await;
    let nul = "00-0af7651916cd43dd\08448eb211c80319-b7ad6b7169203331-01";
    let long = format!("00-{}-b7ad6b7169203331-01", "a".repeat(20_000));
    // Nearly the largest that the broker takes from a client.
    let largest = "a".repeat(120_000);
    let cases = [
        vec![("other", text(&largest))],
        vec![("traceparent", text(nul))],
        vec![("traceparent", text(&long))],
        vec![("received_at", AMQPValue::LongLongInt(i64::MIN))],
        vec![("received_at", AMQPValue::LongLongInt(-400_000_000_000_000))],
        vec![("received_at", AMQPValue::LongLongInt(i64::MAX))],
        vec![
            ("replay_id", AMQPValue::LongLongInt(i64::MIN)),
            ("replay_item", text("\0")),
        ],
        vec![
            ("replay_id", AMQPValue::LongLongInt(1)),
            ("replay_item", text(&long)),
        ],
    ];
    let all = cases.len();
    for (number, headers) in cases.into_iter().enumerate() {
        let body = paid(&number.to_string());
        let properties = with_headers(&body, &headers);
        broker
            .publish("invoice.paid", &body, properties)
            .await
            .unwrap();
    }
    let settled = "SELECT count(*) || ' ' || count(received_at) || ' ' || count(trace_id) \
        FROM stripe.event WHERE outcome IN ('applied', 'stale')";
    // Five without a time or without a trace: the rest of the event counts.
    until(
        &lab.client,
        settled,
        &format!("{all} {} {}", all - 3, all - 2),
    )
    .await;
    worker.stop().await;
}

/// A dead letter takes the properties of its event along, and a few more.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_event_with_the_largest_headers_costs_nobody_else() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("largest"));
    let worker = Running::start(&broker, lab.worker_url()).await;
    let mut melted = Event::new(
        "evt_dead",
        "invoice.paid",
        Invoice {
            status: "melted".into(),
            ..Invoice::default()
        }
        .value(),
    );
    melted.account = Some("acct_a".into());
    for number in 0..3 {
        let body = match number {
            1 => melted.bytes(),
            _ => paid(&number.to_string()),
        };
        let properties = with_headers(&body, &[("other", text(&"a".repeat(130_000)))]);
        let properties = match number {
            1 => properties,
            _ => crate::support::running::properties(&body),
        };
        broker
            .publish("invoice.paid", &body, properties)
            .await
            .unwrap();
    }
    let settled = "SELECT string_agg(concat_ws(' ', id, outcome, attempts), ', ' ORDER BY id) FROM stripe.event";
    until(
        &lab.client,
        settled,
        "evt_0 applied 1, evt_2 applied 1, evt_dead dead 1",
    )
    .await;
    let letter = "SELECT concat_ws(' ', event_id, reason, attempts) FROM stripe.dead_letter";
    until(&lab.client, letter, "evt_dead unknown_status 1").await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_no_time_is_written_down() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("deaths"));
    let worker = Running::start(&broker, lab.worker_url()).await;
    let connection = harness::servers::rabbitmq::connect(broker.url())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    for (number, at) in [i64::MIN, -400_000_000_000_000, i64::MAX]
        .into_iter()
        .enumerate()
    {
        let body = paid(&number.to_string());
        let headers = [
            (headers::DEAD_REASON, text("unknown_status")),
            (headers::DEAD_AT, AMQPValue::LongLongInt(at)),
        ];
        channel
            .basic_publish(
                broker.dead().into(),
                "invoice.paid".into(),
                Default::default(),
                &body,
                with_headers(&body, &headers),
            )
            .await
            .unwrap();
    }
    let letters = "SELECT reason || ' ' || count(*) FROM stripe.dead_letter GROUP BY reason";
    until(&lab.client, letters, "unknown_status 3").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_database_that_accepts_and_says_nothing_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let url = format!("postgres://u:hush@{address}/db?connect_timeout=1");
    let database = Database::parse(&url).unwrap();
    let (started, bound) = (Instant::now(), Duration::from_secs(30));
    let connected = tokio::time::timeout(bound, database.connect()).await;
    let Err(error) = connected.expect("it is given up") else {
        panic!("connected to a peer that says nothing");
    };
    let line = shared::telemetry::report(&error);
    assert!(line.contains("no answer"), "{line}");
    assert!(started.elapsed() >= Duration::from_secs(1));
}

/// A host can make as many invoices as it likes that name bookings which nobody
/// has.
#[tokio::test(flavor = "multi_thread")]
async fn invoices_of_bookings_that_nobody_has_are_looked_at_a_part_at_a_time() {
    let mut lab = Lab::with_bookings(&[]).await;
    lab.executor.owner_query = Some(r#"SELECT 'acct_a' FROM "Booking" WHERE "id" = $1"#.into());
    let invoice = |number: i32| {
        let object = Invoice {
            id: format!("in_{number}"),
            booking: Some(number.to_string()),
            ..Invoice::default()
        };
        Event::new(&format!("evt_{number}"), "invoice.paid", object.value()).of_account("acct_a")
    };
    let many: Vec<Event> = (1..=1200).map(invoice).collect();
    lab.take(&many).await;
    let waiting = "SELECT waiting || ' ' || count(*) FROM stripe.invoice \
        WHERE waiting IS NOT NULL GROUP BY waiting";
    assert_eq!(lab.rows(waiting).await, ["owner_unknown 1200"]);

    // The last in the order of ids comes in its turn, like any other.
    lab.book(999).await;
    let mut job = ProjectPending::new(lab.executor.clone());
    let stop = CancellationToken::new();
    let mut rechecked = Vec::new();
    loop {
        rechecked.push(job.poll(1, &stop).await.unwrap());
        if job.is_at_start() {
            break;
        }
    }
    assert_eq!(rechecked, [0, 0, 1, 0]);
    assert_eq!(lab.rows(waiting).await, ["owner_unknown 1199"]);
    assert_eq!(lab.invoices().await.len(), 1);
}
