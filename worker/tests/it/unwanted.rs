//! What cannot be read, what is not for us, and a reference that is no booking:
//! each changes nothing, says why, and costs nobody else.

use crate::support::{
    APPLIED, Lab, OTHER_MODE, UNHANDLED, dead_code, delivery,
    invoices::{HOST, event, paid, row, session},
};
use domain::{
    event::{EventData, IgnoreReason},
    outcome::Decision,
};
use harness::stripe::Event;
use serde_json::{Value, json};
use store::archive_page::ArchivePolicy;
use tokio_util::sync::CancellationToken;
use worker::pipeline::{delivery::Delivery, executor::Disposition};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_dead_with_its_reason_and_costs_nobody_else() {
    let lab = Lab::new().await;
    let base = paid("evt_x", "7");
    let with = |change: &dyn Fn(&mut Value)| {
        let mut value = base.value();
        change(&mut value);
        value.to_string().into_bytes()
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("unreadable_event", b"not json".to_vec()),
        ("unreadable_event", b"{}".to_vec()),
        (
            "unreadable_object",
            with(&|event| event["data"] = json!({})),
        ),
        (
            "unreadable_object",
            with(&|event| event["data"]["object"]["id"] = json!(5)),
        ),
        (
            "unreadable_object",
            with(&|event| event["data"]["object"]["id"] = json!("")),
        ),
        (
            "unreadable_object",
            with(&|event| event["data"]["object"]["total"] = json!("45")),
        ),
        (
            "other_object",
            with(&|event| event["data"]["object"]["object"] = json!("charge")),
        ),
        (
            "nul_in_text",
            with(&|event| event["data"]["object"]["number"] = json!("a\0b")),
        ),
        ("nul_in_text", with(&|event| event["id"] = json!("evt_\0"))),
        (
            "text_too_long",
            with(&|event| event["data"]["object"]["invoice_pdf"] = json!("x".repeat(9000))),
        ),
        (
            "invalid_booking_id",
            with(&|event| event["data"]["object"]["metadata"]["dialoomBookingId"] = json!("7a")),
        ),
        (
            "invalid_booking_id",
            with(&|event| {
                event["data"]["object"]["metadata"]["dialoomBookingId"] = json!("2147483648");
            }),
        ),
        (
            "unknown_status",
            with(&|event| event["data"]["object"]["status"] = json!("melted")),
        ),
        (
            "time_out_of_range",
            with(&|event| event["created"] = json!(-1)),
        ),
        (
            "time_out_of_range",
            with(&|event| event["data"]["object"]["created"] = json!(1_000_000_000_000_000_i64)),
        ),
    ];
    let mut bodies: Vec<Vec<u8>> = cases.iter().map(|(_, body)| body.clone()).collect();
    for (index, body) in bodies.iter_mut().enumerate() {
        let text = String::from_utf8_lossy(body).replace("evt_x", &format!("evt_{index}"));
        *body = text.into_bytes();
    }
    bodies.push(paid("evt_good", "7").bytes());
    let mut verdicts = lab.take_bytes(&bodies).await;
    assert_eq!(verdicts.pop(), Some(APPLIED));
    for ((reason, body), verdict) in cases.iter().zip(&verdicts) {
        assert_eq!(
            dead_code(verdict),
            *reason,
            "{}",
            String::from_utf8_lossy(body)
        );
    }
    assert_eq!(row(&lab).await, "7 in_1 PAID");
    assert_eq!(lab.ledger("evt_2").await.unwrap().0, "dead");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_for_us_is_ignored_and_says_why() {
    let lab = Lab::new().await;
    let mut live = paid("evt_1", "7");
    live.livemode = true;
    assert_eq!(lab.take_one(&live).await, OTHER_MODE);
    let unknown = event(
        "evt_2",
        "charge.succeeded",
        json!({ "id": "ch_1", "object": "charge" }),
    );
    assert_eq!(lab.take_one(&unknown).await, UNHANDLED);
    let thin = harness::stripe::thin_event("evt_3", "v2.core.account_person.updated", HOST);
    assert_eq!(lab.take_bytes(&[thin]).await, [UNHANDLED]);
    assert_eq!(
        lab.ledger("evt_1").await.unwrap().1.as_deref(),
        Some("other_mode")
    );
    assert_eq!(
        lab.ledger("evt_2").await.unwrap().1.as_deref(),
        Some("unhandled_type")
    );
    assert!(lab.rows("SELECT id FROM stripe.invoice").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_that_is_no_booking_is_not_ours() {
    let lab = Lab::new().await;
    let mut object = session(Value::Null);
    object["metadata"] = json!({});
    object["client_reference_id"] = json!("order-77");
    let other = event("evt_1", "checkout.session.completed", object);
    assert_eq!(lab.take_one(&other).await, APPLIED);
    assert!(
        lab.rows("SELECT account FROM stripe.booking_claim")
            .await
            .is_empty()
    );
}

/// A worker that was set to the other mode, or is older than its bindings, loses
/// nothing: Stripe can be asked to send the event again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_for_nobody_is_judged_again_once_it_is_for_us() {
    let mut lab = Lab::new().await;
    let right = paid("evt_1", "7");
    let taken_for_live = |mut delivery: Delivery| {
        if let Ok(event) = &mut delivery.decoded {
            event.data = EventData::Ignored(IgnoreReason::OtherMode);
        }
        delivery
    };
    let stop = CancellationToken::new();
    let wrong = [taken_for_live(delivery(&right.bytes()))];
    for decision in [OTHER_MODE, Decision::Duplicate] {
        let settled = lab.executor.execute(&wrong, &stop).await.unwrap();
        assert_eq!(settled, [Disposition::Ack(decision)]);
    }
    lab.executor.archive = ArchivePolicy::Compressed;
    assert_eq!(lab.take_one(&right).await, APPLIED);
    assert_eq!(row(&lab).await, "7 in_1 PAID");
    assert_eq!(
        lab.ledger("evt_1").await.unwrap(),
        ("applied".into(), None, 2)
    );
    assert_eq!(lab.take_one(&right).await, Decision::Duplicate);
}

/// Two endpoints can have two API versions.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_renderings_of_one_event_the_readable_one_counts() {
    let readable = paid("evt_1", "7");
    let mut unreadable = readable.clone();
    unreadable.object["total"] = json!("45");
    for together in [
        [&unreadable, &readable].map(Event::bytes),
        [&readable, &unreadable].map(Event::bytes),
    ] {
        let lab = Lab::new().await;
        let mut verdicts = lab.take_bytes(&together).await;
        verdicts.sort_by_key(|verdict| *verdict == Decision::Duplicate);
        assert_eq!(verdicts, [APPLIED, Decision::Duplicate]);
        assert_eq!(row(&lab).await, "7 in_1 PAID");
        assert_eq!(
            lab.ledger("evt_1").await.unwrap(),
            ("applied".into(), None, 1)
        );
    }
}
