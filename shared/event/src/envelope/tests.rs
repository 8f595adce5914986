use super::{Envelope, EnvelopeError, Kind, MAX_TEXT};
use std::borrow::Cow;

fn read(body: &str) -> Result<Envelope<'_>, EnvelopeError> {
    Envelope::read(body.as_bytes())
}

#[test]
fn a_snapshot_event() {
    let body = r#"{"id":"evt_1","object":"event","type":"invoice.paid","created":1760000000,
        "livemode":false,"account":"acct_1","api_version":"2025-03-31.basil",
        "request":"req_1","data":{"object":{"id":"in_1","object":"invoice"}}}"#;
    let envelope = read(body).unwrap();
    assert_eq!(
        envelope,
        Envelope {
            id: "evt_1".into(),
            kind: Kind::Event,
            event_type: "invoice.paid".into(),
            created: Some(1_760_000_000),
            livemode: Some(false),
            account: Some("acct_1".into()),
            api_version: Some("2025-03-31.basil".into()),
        }
    );
    assert!(matches!(envelope.id, Cow::Borrowed(_)));
}

#[test]
fn a_thin_event_has_its_account_in_context() {
    let body = r#"{"id":"evt_1","object":"v2.core.event","type":"v2.core.account.updated",
        "created":"2025-10-09T08:53:20.500Z","context":"acct_1","account":"acct_2"}"#;
    let envelope = read(body).unwrap();
    assert_eq!(envelope.kind, Kind::Thin);
    assert_eq!(envelope.created, Some(1_760_000_000));
    assert_eq!(envelope.account.as_deref(), Some("acct_1"));
}

#[test]
fn an_event_without_an_account_is_of_the_last_account_of_its_context() {
    let account = |fields: &str| {
        let body = format!(r#"{{"id":"evt_1","object":"event","type":"x",{fields}}}"#);
        read(&body).unwrap().account.map(Cow::into_owned)
    };
    for (fields, expected) in [
        (r#""context":"acct_1""#, Some("acct_1")),
        (r#""context":"org_1/acct_2""#, Some("acct_2")),
        (
            r#""context":"acct_1/acct_2","account":null"#,
            Some("acct_2"),
        ),
        (r#""context":"acct_1\/acct_2""#, Some("acct_2")),
        (
            r#""context":"org_1/acct_2","account":"acct_3""#,
            Some("acct_3"),
        ),
        // Whoever else it names is no connected account.
        (r#""context":"acct_1/org_2""#, None),
        (r#""context":"acct_1/""#, None),
        (r#""context":"org_1/acct_""#, None),
        (r#""context":"org_1""#, None),
        (r#""context":["acct_1"]"#, None),
    ] {
        assert_eq!(account(fields).as_deref(), expected, "{fields}");
    }
    let body = r#"{"id":"evt_1","object":"event","type":"x","context":"org_1/acct_2"}"#;
    assert!(matches!(
        read(body).unwrap().account,
        Some(Cow::Borrowed("acct_2"))
    ));
}

#[test]
fn three_fields_are_enough() {
    let envelope = read(r#"{"id":"evt_1","object":"event","type":"x"}"#).unwrap();
    assert_eq!(envelope.created, None);
    assert_eq!(envelope.livemode, None);
    assert_eq!(envelope.account, None);
    assert_eq!(envelope.api_version, None);
}

#[test]
fn optional_fields_of_any_other_shape_read_as_absent() {
    let long = format!("\"{}\"", "a".repeat(MAX_TEXT + 1));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let shapes = [
        "null",
        "{}",
        "[[1]]",
        "1e999",
        "-1.5",
        "\"\"",
        "\"\\ud800\"",
        &long,
        &deep,
        "99999999999999999999",
    ];
    for shape in shapes {
        let body = format!(
            r#"{{"id":"evt_1","object":"event","type":"x","created":{shape},"livemode":{shape},
            "account":{shape},"context":{shape},"api_version":{shape},"request":{shape}}}"#
        );
        let envelope = read(&body).unwrap();
        assert_eq!(envelope.created, None, "{shape:.20}");
        assert_eq!(envelope.livemode, None);
        assert_eq!(envelope.account, None);
        assert_eq!(envelope.api_version, None);
    }
    let body = r#"{"id":"evt_1","object":"event","type":"x","created":"1760000000"}"#;
    assert_eq!(read(body).unwrap().created, None);
}

#[test]
fn escapes_are_read() {
    let body = r#"{"\u0069d":"evt_\u0031","object":"\u0065vent","type":"x"}"#;
    assert_eq!(read(body).unwrap().id, "evt_1");
}

#[test]
fn a_demanded_field_must_be_a_short_text() {
    let fits = "a".repeat(MAX_TEXT);
    let long = "a".repeat(MAX_TEXT + 1);
    assert!(
        read(&format!(
            r#"{{"id":"{fits}","object":"event","type":"{fits}"}}"#
        ))
        .is_ok()
    );
    let wrong = [
        format!(r#"{{"id":"{long}","object":"event","type":"x"}}"#),
        format!(r#"{{"id":"evt_1","object":"event","type":"{long}"}}"#),
        r#"{"id":"","object":"event","type":"x"}"#.into(),
        r#"{"id":1,"object":"event","type":"x"}"#.into(),
        r#"{"object":"event","type":"x"}"#.into(),
        r#"{"id":"evt_1","object":"event","type":null}"#.into(),
        r#"{"id":"evt_1","object":"event"}"#.into(),
        r#"{"id":"evt_1","type":"x"}"#.into(),
        r#"{"id":"evt_\ud800","object":"event","type":"x"}"#.into(),
    ];
    for body in wrong {
        let error = read(&body).unwrap_err();
        assert!(
            matches!(error, EnvelopeError::Field(_)),
            "{body:.60}: {error}"
        );
    }
}

#[test]
fn another_object_is_no_event() {
    for object in ["invoice", "Event", "v2.core.event_destination"] {
        let body = format!(r#"{{"id":"evt_1","object":"{object}","type":"x"}}"#);
        assert!(matches!(read(&body), Err(EnvelopeError::NotAnEvent)));
    }
}

#[test]
fn a_repeated_identity_is_refused_and_a_repeated_detail_is_not() {
    for twice in [r#""id":"evt_2""#, r#""type":"y""#, r#""object":"event""#] {
        let body = format!(r#"{{"id":"evt_1","object":"event","type":"x",{twice}}}"#);
        assert!(matches!(read(&body), Err(EnvelopeError::Repeated(_))));
    }
    let body =
        r#"{"id":"evt_1","object":"event","type":"x","created":1,"data":1,"created":2,"data":2}"#;
    assert_eq!(read(body).unwrap().created, Some(2));
}

#[test]
fn what_is_not_one_json_object_is_refused() {
    let event = r#"{"id":"evt_1","object":"event","type":"x"}"#;
    let deep = "[".repeat(100_000);
    let bodies = [
        "",
        " ",
        "hello",
        "null",
        "[]",
        "\"x\"",
        "{",
        "{}x",
        &deep,
        &format!("{event}{event}"),
        &format!("{event}\0"),
        &format!("\0{event}"),
        &format!("\u{feff}{event}"),
        &format!("[{event}]"),
    ];
    for body in bodies {
        assert!(read(body).is_err(), "{body:.40}");
    }
    assert!(read(&format!(" \r\n\t{event}\n ")).is_ok());
    let invalid = b"{\"id\":\"evt_1\",\"object\":\"event\",\"type\":\"x\",\"data\":\"\xff\"}";
    assert!(matches!(
        Envelope::read(invalid),
        Err(EnvelopeError::NotUtf8)
    ));
}

#[test]
fn deep_nesting_inside_data_costs_no_stack() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let (open, close) = (open.repeat(100_000), close.repeat(100_000));
        let body = format!(r#"{{"id":"evt_1","object":"event","data":{open}1{close},"type":"x"}}"#);
        // A thread of 64 KiB: a reader that recurses would not survive it.
        let small = std::thread::Builder::new().stack_size(64 * 1024);
        let reading = small.spawn(move || read(&body).map(|envelope| envelope.id.len()));
        assert_eq!(reading.unwrap().join().unwrap().unwrap(), 5);
    }
}

#[test]
fn an_error_does_not_quote_the_body() {
    let body = r#"{"id":"evt_1","object":"event","type":"x","data": secret}"#;
    assert!(!read(body).unwrap_err().to_string().contains("secret"));
}
