//! News for the main app: what makes news and what does not. That of refunds is in
//! `refund_news.rs`, and how all of it is published in `publish_changes.rs`.

use harness::{
    stripe::{Account, Event, Invoice},
    test_servers::TestBroker,
};
use serde_json::{Value, json};
use store::outbox::Outbox;

use crate::support::{
    APPLIED, Lab, STALE,
    invoices::{HOST, event, invoice, paid},
    news::{last, telling, told},
    operator::Operator,
    payments::nth_paid,
    statements::Counter,
};

/// An event of the one invoice, so many seconds later.
fn later(seconds: i64, id: &str, kind: &str, status: &str) -> Event {
    let mut event = event(id, kind, invoice(status, Some("7")));
    event.created += seconds;
    event
}

/// An event of another invoice of the booking.
fn other(seconds: i64, id: &str, kind: &str, status: &str) -> Event {
    let object = Invoice {
        id: "in_2".into(),
        status: status.into(),
        booking: Some("7".into()),
        ..Invoice::default()
    };
    let mut event = event(id, kind, object.value());
    event.created += seconds;
    event
}

fn host(seconds: i64, id: &str, change: impl FnOnce(&mut Value)) -> Event {
    let mut object = Account {
        id: HOST.into(),
        host: Some("42".into()),
        ..Account::default()
    }
    .value();
    change(&mut object);
    let mut event = Event::new(id, "account.updated", object).of_account(HOST);
    event.created += seconds;
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn each_status_of_a_booking_is_told_once() {
    let lab = telling().await;
    let draft = later(0, "evt_1", "invoice.created", "draft");
    lab.take_one(&draft).await;
    assert_eq!(told(&lab).await, ["booking.invoice.draft 7 1"]);
    let mut open = later(1, "evt_2", "invoice.finalized", "open");
    open.object["invoice_pdf"] = "https://stripe.example/in_1.pdf".into();
    lab.take_one(&open).await;
    assert_eq!(
        last(&lab).await,
        json!({
            "bookingId": 7, "stripeInvoiceId": "in_1", "status": "SENT", "amount": "45",
            "currency": "eur", "amountRefunded": "0", "amountCredited": "0", "hasPdf": true,
            "stripeAccountId": HOST,
        })
    );
    // The same once more, one that says nothing new, and one that changes only the amount.
    lab.take_one(&open).await;
    lab.take_one(&draft).await;
    lab.take_one(&later(0, "evt_3", "invoice.updated", "draft"))
        .await;
    let mut dearer = later(2, "evt_4", "invoice.updated", "open");
    dearer.object["total"] = 9900.into();
    assert_eq!(lab.take_one(&dearer).await, APPLIED);
    let paid = later(3, "evt_5", "invoice.paid", "paid");
    lab.take_one(&paid).await;
    let again = later(3, "evt_6", "invoice.payment_succeeded", "paid");
    lab.take_one(&again).await;
    let stale = later(1, "evt_7", "invoice.sent", "open");
    assert_eq!(lab.take_one(&stale).await, STALE);
    lab.take_one(&later(4, "evt_8", "invoice.voided", "void"))
        .await;
    assert_eq!(
        told(&lab).await,
        [
            "booking.invoice.draft 7 1",
            "booking.invoice.sent 7 2",
            "booking.invoice.paid 7 3",
            "booking.invoice.voided 7 4",
        ]
    );
    let said = last(&lab).await;
    assert_eq!(said["status"], Value::Null);
    assert_eq!(said["stripeInvoiceId"], "in_1");
    assert_eq!(lab.invoices().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_void_invoice_and_the_one_that_takes_its_place_are_both_told() {
    let lab = telling().await;
    lab.take_one(&later(0, "evt_1", "invoice.finalized", "open"))
        .await;
    // A draft beside it changes nothing that the booking shows.
    lab.take_one(&other(1, "evt_2", "invoice.created", "draft"))
        .await;
    lab.take_one(&later(2, "evt_3", "invoice.voided", "void"))
        .await;
    // One that is paid displaces one that is not, which stays as it is.
    lab.take_one(&other(3, "evt_4", "invoice.finalized", "open"))
        .await;
    let mut third = other(4, "evt_5", "invoice.paid", "paid");
    third.object["id"] = "in_3".into();
    lab.take_one(&third).await;
    let told = "SELECT concat_ws(' ', kind, row_version, payload ->> 'stripeInvoiceId') \
        FROM stripe.outbox ORDER BY id";
    assert_eq!(
        lab.rows(told).await,
        [
            "booking.invoice.sent 1 in_1",
            "booking.invoice.voided 2 in_1",
            "booking.invoice.draft 3 in_2",
            "booking.invoice.sent 4 in_2",
            "booking.invoice.paid 5 in_3",
        ]
    );
}

/// Also where Stripe gives no reason, and where the reason is of before the host left.
#[tokio::test(flavor = "multi_thread")]
async fn news_of_a_host_says_why_in_words() {
    let lab = telling().await;
    let said = async || {
        let said = last(&lab).await;
        let words = said["words"].as_array().unwrap();
        let words: Vec<&str> = words.iter().map(|one| one.as_str().unwrap()).collect();
        (said["to"].clone(), said["why"].clone(), words.join(" "))
    };
    let due = |account: &mut Value| {
        account["requirements"]["currently_due"] = json!(["person_1Abc.id_number"]);
    };
    lab.take_one(&host(1, "evt_1", due)).await;
    let soon = "The host may sell. Stripe will hold the account back unless the host gives what \
        is due.";
    assert_eq!(
        said().await,
        (json!("RESTRICTED_SOON"), Value::Null, soon.to_owned())
    );
    let rejected = host(2, "evt_2", |account| {
        account["requirements"]["disabled_reason"] = "rejected.fraud".into();
        account["charges_enabled"] = false.into();
    });
    lab.take_one(&rejected).await;
    let why = "The host may not sell. Stripe has rejected the account (Stripe's reason: \
        rejected.fraud).";
    assert_eq!(
        said().await,
        (json!("REJECTED"), json!("rejected.fraud"), why.to_owned())
    );
    let application = json!({ "id": "ca_1", "object": "application", "name": "Dialoom" });
    let mut left = Event::new("evt_3", "account.application.deauthorized", application);
    left = left.of_account(HOST);
    left.created += 3;
    lab.take_one(&left).await;
    let gone = "The host may not sell. The host has cut the connection to the platform, or the \
        account is closed.";
    assert_eq!(
        said().await,
        (json!("DISCONNECTED"), Value::Null, gone.to_owned())
    );
    let payloads = lab.rows("SELECT payload::text FROM stripe.outbox").await;
    assert!(!payloads.concat().contains("person_"), "{payloads:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_told_of_when_its_status_changes_or_whether_it_may_sell() {
    let lab = telling().await;
    let mut fresh = Account::fresh(HOST, "42");
    fresh["created"] = Account::default().created.into();
    let fresh = Event::new("evt_1", "account.updated", fresh).of_account(HOST);
    lab.take_one(&fresh).await;
    assert_eq!(
        last(&lab).await,
        json!({
            "stripeAccountId": HOST, "hostId": "42", "from": null, "to": "INCOMPLETE",
            "why": "requirements.past_due", "canSell": false,
            "words": ["The host may not sell.", "The host has not finished Stripe's form."],
        })
    );
    lab.take_one(&host(1, "evt_2", |_| {})).await;
    let said = last(&lab).await;
    assert_eq!(
        (&said["from"], &said["to"], &said["why"], &said["canSell"]),
        (
            &json!("INCOMPLETE"),
            &json!("ENABLED"),
            &Value::Null,
            &json!(true)
        )
    );
    // What is due one day is no news; neither is the same once more.
    let due = host(2, "evt_3", |account| {
        account["requirements"]["eventually_due"] = json!(["tax_id"]);
    });
    assert_eq!(lab.take_one(&due).await, APPLIED);
    lab.take_one(&due).await;
    let due_now = host(3, "evt_4", |account| {
        account["requirements"]["currently_due"] = json!(["tax_id"]);
    });
    lab.take_one(&due_now).await;
    // The status stays, and the host may not sell any more.
    let no_cards = host(4, "evt_5", |account| {
        account["requirements"]["currently_due"] = json!(["tax_id"]);
        account["capabilities"]["card_payments"] = "inactive".into();
    });
    lab.take_one(&no_cards).await;
    let query = "SELECT concat_ws(' ', row_version, payload ->> 'from', payload ->> 'to', \
        payload ->> 'canSell') FROM stripe.outbox ORDER BY id";
    assert_eq!(
        lab.rows(query).await,
        [
            "1 INCOMPLETE false",
            "2 INCOMPLETE ENABLED true",
            "3 ENABLED RESTRICTED_SOON true",
            "4 RESTRICTED_SOON RESTRICTED_SOON false",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_tells_what_the_row_shows_after_it() {
    let lab = telling().await;
    let events = [
        later(0, "evt_1", "invoice.created", "draft"),
        later(1, "evt_2", "invoice.finalized", "open"),
        later(2, "evt_3", "invoice.paid", "paid"),
        nth_paid(0),
    ];
    lab.take(&events).await;
    let both = ["booking.invoice.paid 1 1", "booking.invoice.paid 7 1"];
    assert_eq!(told(&lab).await, both);
    lab.take(&events).await;
    assert_eq!(told(&lab).await, both);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_forgotten_leaves_no_news() {
    let (lab, broker) = (telling().await, TestBroker::new("newsforgotten"));
    lab.take(&[paid("evt_1", "7"), host(0, "evt_2", |_| {}), nth_paid(9)])
        .await;
    assert_eq!(told(&lab).await.len(), 3);
    let forget = format!("forget --account {HOST} --yes");
    let operator = Operator::new(lab.worker_url(), &broker);
    operator.run(&forget).await.well();
    assert_eq!(told(&lab).await, ["booking.invoice.paid 10 1"]);
}

/// Whatever the order, the last news says how the booking is.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_news_says_the_end_state_in_every_order() {
    let events = [
        later(0, "evt_1", "invoice.created", "draft"),
        later(1, "evt_2", "invoice.finalized", "open"),
        later(3, "evt_3", "invoice.voided", "void"),
        other(2, "evt_4", "invoice.created", "draft"),
        other(4, "evt_5", "invoice.paid", "paid"),
    ];
    for seed in 0..20_usize {
        let lab = telling().await;
        let mut left: Vec<&Event> = events.iter().chain(&events).collect();
        let mut pick = seed * 7 + 3;
        while !left.is_empty() {
            pick = (pick * 31 + 17) % 1009;
            let event = left.swap_remove(pick % left.len());
            lab.take_one(event).await;
        }
        let said = last(&lab).await;
        assert_eq!(
            (&said["stripeInvoiceId"], &said["status"]),
            (&json!("in_2"), &json!("PAID")),
            "{seed}: {:?}",
            told(&lab).await
        );
        let versions = "SELECT row_version::text FROM stripe.outbox ORDER BY id";
        let versions = lab.rows(versions).await;
        let counted: Vec<String> = (1..=versions.len()).map(|n| n.to_string()).collect();
        assert_eq!(versions, counted, "{seed}");
        let paid = "SELECT count(*)::text FROM stripe.outbox WHERE kind = 'booking.invoice.paid'";
        assert_eq!(lab.rows(paid).await, ["1"], "{seed}");
    }
}

/// The news goes with the commit that writes the row, also where that is the job's.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_main_app_refuses_makes_no_news_until_it_is_written() {
    let lab = telling().await;
    let refuse = r#"ALTER TABLE "Invoice" ADD CONSTRAINT "not_two" CHECK ("bookingId" <> 2)"#;
    lab.client.batch_execute(refuse).await.unwrap();
    let events: Vec<Event> = (0..3).map(nth_paid).collect();
    lab.take(&events).await;
    let two = ["booking.invoice.paid 1 1", "booking.invoice.paid 3 1"];
    assert_eq!(told(&lab).await, two);
    lab.project_pending().await;
    assert_eq!(told(&lab).await, two);
    let allow = r#"ALTER TABLE "Invoice" DROP CONSTRAINT "not_two""#;
    lab.client.batch_execute(allow).await.unwrap();
    lab.project_pending().await;
    lab.project_pending().await;
    assert_eq!(
        told(&lab).await,
        [two[0], two[1], "booking.invoice.paid 2 1"]
    );
}

/// A change that is undone with its transaction leaves neither news nor a version.
#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_that_cannot_be_written_holds_up_no_event() {
    let lab = telling().await;
    let refuse = "ALTER TABLE stripe.outbox ADD CONSTRAINT no CHECK (false) NOT VALID";
    lab.client.batch_execute(refuse).await.unwrap();
    assert_eq!(lab.take_one(&paid("evt_1", "7")).await, APPLIED);
    assert_eq!(lab.pending().await, ["booking 7 check 1"]);
    let allow = "ALTER TABLE stripe.outbox DROP CONSTRAINT no";
    lab.client.batch_execute(allow).await.unwrap();
    lab.project_pending().await;
    assert_eq!(told(&lab).await, ["booking.invoice.paid 7 1"]);
    assert_eq!(lab.invoices().await.len(), 1);
}

/// Off, the outbox costs nothing: the statements of a batch are those of a worker that knows
/// no outbox.
#[tokio::test(flavor = "multi_thread")]
async fn unless_it_is_turned_on_no_statement_is_sent_for_it() {
    let lab = Lab::new().await;
    let counter = Counter::before(lab.worker_url()).await;
    let mut lab = Lab::with_url(lab.database, counter.url.clone()).await;
    let batch = |first: usize| {
        let mut events: Vec<Event> = (first..first + 10).map(nth_paid).collect();
        let id = format!("evt_host_{first}");
        events.push(host(i64::try_from(first).unwrap(), &id, |account| {
            account["charges_enabled"] = first.is_multiple_of(20).into();
        }));
        events
    };
    // The first batch of a session also sets it up.
    lab.take(&batch(0)).await;
    counter.take();
    lab.take(&batch(10)).await;
    let off = counter.take();
    assert_eq!(told(&lab).await, Vec::<String>::new());
    lab.executor.outbox = Outbox::On;
    lab.take(&batch(20)).await;
    counter.take();
    lab.take(&batch(30)).await;
    let on = counter.take();
    println!("a batch sends {off} statements, and {on} with CHANGES=yes");
    // What the hosts showed, and the news.
    assert_eq!(on, off + 2);
    assert_eq!(off, STATEMENTS);
}

/// The statements of a batch of new invoices and a known host.
const STATEMENTS: usize = 24;

/// Somebody who reads up to the greatest id never misses a smaller one.
#[tokio::test(flavor = "multi_thread")]
async fn ids_are_committed_in_their_order() {
    let lab = telling().await;
    let take = |worker: usize| {
        let lab = &lab;
        async move {
            for index in 0..60 {
                lab.take_one(&nth_paid(index * 2 + worker)).await;
            }
        }
    };
    let reader = lab.database.connect().await.unwrap();
    let (done, mut is_done) = tokio::sync::oneshot::channel();
    let read = async {
        let mut seen: Vec<i64> = Vec::new();
        while is_done.try_recv().is_err() {
            let rows = reader
                .query("SELECT id FROM stripe.outbox ORDER BY id", &[])
                .await
                .unwrap();
            let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
            assert!(ids.starts_with(&seen), "{seen:?}\n{ids:?}");
            seen = ids;
        }
    };
    let work = async {
        tokio::join!(take(0), take(1));
        done.send(()).unwrap();
    };
    tokio::join!(read, work);
    assert_eq!(told(&lab).await.len(), 120);
}
