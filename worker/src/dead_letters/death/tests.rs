use super::*;
use crate::amqp::headers as headers_of;

fn now() -> DateTime<Utc> {
    moment(2_000_000_000)
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn headers(pairs: &[(&str, AMQPValue)]) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in pairs {
        headers.insert((*name).into(), value.clone());
    }
    BasicProperties::default().with_headers(headers)
}

fn x_death(reason: &str, at: u64, count: i64) -> AMQPValue {
    let mut death = FieldTable::default();
    death.insert("reason".into(), text(reason));
    death.insert("time".into(), AMQPValue::Timestamp(at));
    death.insert("count".into(), AMQPValue::LongLongInt(count));
    death.insert("queue".into(), text("stripe.events.worker"));
    AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death)].into())
}

#[test]
fn the_broker_tells_its_reason_in_every_version() {
    // RabbitMQ 3.10, and 4.x beside the same x-death.
    let old = headers(&[
        ("x-death", x_death("delivery_limit", 1_760_000_000, 1)),
        ("x-first-death-reason", text("delivery_limit")),
    ]);
    let new = headers(&[
        ("x-death", x_death("delivery_limit", 1_760_000_000, 1)),
        ("x-first-death-reason", text("expired")),
        ("x-last-death-reason", text("delivery_limit")),
    ]);
    for properties in [old, new] {
        let death = death(&properties, now());
        assert_eq!(death.reason, "delivery_limit");
        assert_eq!(death.origin, Origin::DeliveryLimit);
        assert_eq!(death.key, "delivery_limit:1:1760000000");
        assert_eq!(death.at, moment(1_760_000_000));
    }
    for reason in ["rejected", "expired", "maxlen", "brand-new"] {
        let death = death(&headers(&[("x-first-death-reason", text(reason))]), now());
        assert_eq!(
            (death.reason.as_str(), death.origin),
            (reason, Origin::Broker)
        );
        assert_eq!(death.at, now());
    }
}

#[test]
fn the_latest_death_counts() {
    let with = |worker_at: i64, broker_at: u64| {
        let properties = headers(&[
            (headers_of::DEAD_REASON, text("unknown_status")),
            (headers_of::DEAD_DETAIL, text("A sentence.")),
            (headers_of::DEAD_AT, AMQPValue::LongLongInt(worker_at)),
            ("x-death", x_death("delivery_limit", broker_at, 2)),
        ]);
        death(&properties, now()).reason
    };
    assert_eq!(with(1_760_000_000_500, 1_760_000_000), "unknown_status");
    assert_eq!(with(1_760_000_000_500, 1_760_000_009), "delivery_limit");
}

#[test]
fn a_message_without_a_reason_is_kept_too() {
    let death = death(&BasicProperties::default(), now());
    assert_eq!((death.reason.as_str(), death.at), ("unknown", now()));
    let nul = headers(&[
        (headers_of::DEAD_REASON, text("a\0b")),
        ("x-death", AMQPValue::Void),
    ]);
    assert_eq!(super::death(&nul, now()).reason, "a\u{fffd}b");
}

/// Anybody with access to the broker can publish there. What cannot be stored
/// would come again and again.
#[test]
fn whatever_a_dead_letter_says_can_be_stored() {
    let long = "ä".repeat(5000);
    for millis in [i64::MIN, -1, i64::MAX] {
        let properties = headers(&[
            (headers_of::DEAD_REASON, text(&long)),
            (headers_of::DEAD_AT, AMQPValue::LongLongInt(millis)),
        ]);
        let death = death(&properties, now());
        assert_eq!(death.reason, "ä".repeat(127));
        assert_eq!(death.at, DateTime::UNIX_EPOCH);
    }
    let broker = death(&headers(&[("x-first-death-reason", text(&long))]), now());
    assert_eq!(broker.reason.len(), 254);
    let broker = death(
        &headers(&[("x-death", x_death("rejected", u64::MAX, 1))]),
        now(),
    );
    assert_eq!(broker.at, now());
}
