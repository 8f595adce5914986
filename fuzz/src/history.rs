//! A history of events in a fuzzer's bytes.
//!
//! Records stand one behind the other with the byte `0x1e` between them. Of a
//! record the first three bytes choose the event's type, its second and its
//! account; then comes the object as JSON, and behind a byte `0x1f` its
//! `previous_attributes`. Neither byte can stand in JSON, so whatever the
//! fuzzer does inside an object stays there.

/// The first second that events happen in.
pub const START: i64 = 1_760_000_000;

/// More records make an execution slow and find nothing that fewer do not.
const MAX_RECORDS: usize = 4;

/// The events' bodies.
pub fn bodies(input: &[u8], types: &[&str]) -> Vec<Vec<u8>> {
    let records = input.split(|byte| *byte == 0x1e).take(MAX_RECORDS);
    let numbered = records.enumerate();
    numbered
        .filter_map(|(number, record)| body(number, record, types))
        .collect()
}

fn body(number: usize, record: &[u8], types: &[&str]) -> Option<Vec<u8>> {
    let ([kind, second, account], data) = record.split_first_chunk()?;
    let mut data = data.split(|byte| *byte == 0x1f);
    let (object, previous) = (data.next()?, data.next());
    let event_type = types[usize::from(*kind) % types.len()];
    let created = START + i64::from(second % 4);
    let account = match account % 4 {
        0 | 1 => r#""acct_a""#,
        2 => r#""acct_b""#,
        _ => "null",
    };
    let mut body = format!(
        r#"{{"id":"evt_{number}","object":"event","type":"{event_type}","created":{created},"account":{account},"livemode":false,"data":{{"object":"#
    )
    .into_bytes();
    body.extend_from_slice(object);
    if let Some(previous) = previous {
        body.extend_from_slice(br#","previous_attributes":"#);
        body.extend_from_slice(previous);
    }
    body.extend_from_slice(b"}}");
    Some(body)
}
