use super::*;

#[test]
fn every_type_comes_back_as_it_was() {
    let mut inner = FieldTable::default();
    inner.insert("n".into(), AMQPValue::LongLongInt(i64::MIN));
    let values = [
        AMQPValue::Boolean(true),
        AMQPValue::ShortShortInt(-1),
        AMQPValue::ShortShortUInt(255),
        AMQPValue::ShortInt(-2),
        AMQPValue::ShortUInt(3),
        AMQPValue::LongInt(i32::MIN),
        AMQPValue::LongUInt(u32::MAX),
        AMQPValue::LongLongInt(i64::MAX),
        AMQPValue::Float(f32::INFINITY),
        AMQPValue::Double(-0.0),
        AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 7 }),
        AMQPValue::ShortString("a\0b".into()),
        AMQPValue::LongString(LongString::from(vec![0xff, 0])),
        AMQPValue::LongString("text".into()),
        AMQPValue::Timestamp(u64::MAX),
        AMQPValue::ByteArray(vec![0, 1, 2].into()),
        AMQPValue::FieldTable(inner.clone()),
        AMQPValue::FieldArray(vec![AMQPValue::Void, AMQPValue::FieldTable(inner)].into()),
        AMQPValue::Void,
    ];
    let mut headers = FieldTable::default();
    for (index, value) in values.into_iter().enumerate() {
        headers.insert(format!("h\0{index}").into(), value);
    }
    let properties = BasicProperties::default()
        .with_message_id("evt\0".into())
        .with_type("invoice.paid".into())
        .with_content_type("application/json".into())
        .with_content_encoding("identity".into())
        .with_correlation_id("c".into())
        .with_reply_to("r".into())
        .with_expiration("1".into())
        .with_user_id("u".into())
        .with_app_id("a".into())
        .with_cluster_id("k".into())
        .with_delivery_mode(2)
        .with_priority(9)
        .with_timestamp(u64::MAX)
        .with_headers(headers);
    let json = to_json(&properties);
    assert!(!json.to_string().contains("\\u0000"), "{json}");
    assert_eq!(from_json(&json), properties);
    assert_eq!(
        from_json(&to_json(&BasicProperties::default())),
        BasicProperties::default()
    );
}

/// serde_json, which reads the stored JSON, stops at a depth of 128.
#[test]
fn what_is_nested_deep_is_read_back_as_well() {
    for depth in [1, 15, 16, 17, 18, 40] {
        let nested = (0..depth).fold(AMQPValue::Boolean(true), |value, level| {
            let mut table = FieldTable::default();
            table.insert("n".into(), value);
            match level % 2 {
                0 => AMQPValue::FieldTable(table),
                _ => AMQPValue::FieldArray(vec![AMQPValue::FieldTable(table)].into()),
            }
        });
        let mut headers = FieldTable::default();
        headers.insert("deep".into(), nested);
        let properties = BasicProperties::default().with_headers(headers);
        let stored = to_json(&properties).to_string();
        let read: Value = serde_json::from_str(&stored).unwrap();
        assert_eq!(from_json(&read), properties, "{depth}");
        assert_eq!(headers_for_people(&read).len(), 1);
    }
}
