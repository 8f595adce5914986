//! The envelope, against serde_json's reading of the whole body; and the
//! message made from it, against what the worker reads back.
#![no_main]

use event::envelope::{Envelope, EnvelopeError, Kind};
use fuzz::pairs::Pairs;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use shared::message::{Meta, properties};

/// A text as the envelope takes one.
fn text(value: Option<&Value>) -> Option<&str> {
    value?
        .as_str()
        .filter(|text| (1..=255).contains(&text.len()))
}

/// The demanded fields that are not there exactly once, as a text.
fn wrong(pairs: &Pairs) -> Vec<&'static str> {
    let demanded = ["id", "object", "type"].into_iter();
    demanded
        .filter(|name| pairs.count(name) != 1 || text(pairs.last(name)).is_none())
        .collect()
}

fuzz_target!(|body: &[u8]| {
    let read = Envelope::read(body);
    if let Err(error) = &read {
        let line = error.to_string();
        assert!(line.is_ascii() && line.len() < 80, "{line}");
    }
    if let Ok(envelope) = &read {
        round_trip(envelope);
    }
    // serde_json reads less than the envelope: it stops at a depth of 128, and
    // at half surrogates and huge numbers in parts that nobody looks at.
    let Ok(pairs) = serde_json::from_slice::<Pairs>(body) else {
        return;
    };
    let envelope = match read {
        Ok(envelope) => envelope,
        Err(EnvelopeError::Field(name) | EnvelopeError::Repeated(name)) => {
            return assert!(wrong(&pairs).contains(&name), "{name}");
        }
        Err(EnvelopeError::NotAnEvent) => {
            let object = text(pairs.last("object")).unwrap();
            return assert!(!["event", "v2.core.event"].contains(&object));
        }
        Err(other) => panic!("{other}"),
    };
    assert!(wrong(&pairs).is_empty());
    assert_eq!(Some(&*envelope.id), text(pairs.last("id")));
    assert_eq!(Some(&*envelope.event_type), text(pairs.last("type")));
    let context = text(pairs.last("context"));
    let (object, account) = match envelope.kind {
        Kind::Event => {
            let last = context.and_then(|context| context.rsplit('/').next());
            let last = last.filter(|last| last.len() > 5 && last.starts_with("acct_"));
            ("event", text(pairs.last("account")).or(last))
        }
        Kind::Thin => ("v2.core.event", context),
    };
    assert_eq!(Some(object), text(pairs.last("object")));
    assert_eq!(envelope.account.as_deref(), account);
    assert_eq!(
        envelope.api_version.as_deref(),
        text(pairs.last("api_version"))
    );
    assert_eq!(
        envelope.livemode,
        pairs.last("livemode").and_then(Value::as_bool)
    );
    let created = pairs.last("created");
    match envelope.kind {
        // serde_json takes -0 for a fraction.
        Kind::Event if created.is_some_and(|value| value.as_f64() == Some(0.0)) => {}
        Kind::Event => assert_eq!(envelope.created, created.and_then(Value::as_i64)),
        Kind::Thin => assert!(envelope.created.is_none() || text(created).is_some()),
    }
});

/// What ingest writes beside the body is what the worker reads there.
fn round_trip(envelope: &Envelope<'_>) {
    let meta = Meta::read(&properties(envelope, 1_760_000_000_123, None));
    let expected = Meta {
        event_id: Some(envelope.id.to_string()),
        event_type: Some(envelope.event_type.to_string()),
        received_at_millis: Some(1_760_000_000_123),
        traceparent: None,
    };
    assert_eq!(meta, expected);
}
