use super::*;
use lapin::BasicProperties;

const BODY: &[u8] = br#"{"id":"evt_1","object":"event","type":"invoice.paid"}"#;

fn message(body: &[u8], id: Option<&str>) -> Message {
    let (exchange, key) = ("stripe.events".into(), "invoice.paid".into());
    let mut message = Message::mock(1, exchange, key, true, body.to_vec());
    if let Some(id) = id {
        message.properties = BasicProperties::default().with_message_id(id.into());
    }
    message
}

#[test]
fn a_note_has_an_id_that_postgres_can_keep() {
    assert_eq!(note_id(&message(BODY, Some("evt_1"))), "evt_1");
    let hash = note_id(&message(BODY, None));
    assert!(hash.starts_with("sha256-") && hash.len() == 71, "{hash}");
    for id in ["", "a\0b"] {
        assert_eq!(note_id(&message(BODY, Some(id))), hash);
    }
    assert_ne!(note_id(&message(b"{}", None)), hash);
}

#[test]
fn an_event_that_is_given_up_is_read_once_and_no_more() {
    let read = |body, tries| given_up(&message(body, None), tries).header;
    assert_eq!(read(BODY, MAX_TRIES + 1).unwrap().id, "evt_1");
    assert_eq!(read(BODY, MAX_TRIES + 2), None);
    assert_eq!(read(b"{", MAX_TRIES + 1), None);
}
