//! The forms in which commands come and answers go.
//!
//! NestJS's RabbitMQ client sends `{"pattern": "host.status", "data": {...}, "id": "..."}`;
//! its pattern may also be `{"cmd": "host.status"}`. Anybody else sends the data alone, with
//! the command's name as routing key. Both get the same answer: `{"response": ...,
//! "isDisposed": true}` or `{"err": ..., "isDisposed": true}`, with the `id` where there was
//! one.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{error::CommandError, json};

/// The largest command, in bytes.
pub const MAX_BODY: usize = 64 * 1024;
/// The longest id that is answered, in bytes.
const MAX_ID: usize = 200;

/// What was sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The command's name.
    pub name: String,
    /// Its data.
    pub data: Value,
    /// NestJS's id.
    pub id: Option<String>,
}

/// What is answered.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    err: Option<&'a CommandError>,
    #[serde(rename = "isDisposed")]
    is_disposed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

/// Reads a command's message.
///
/// # Errors
/// It is no command.
pub fn read(routing_key: &str, body: &[u8]) -> Result<Request, CommandError> {
    let invalid = |why: &str| CommandError::new("invalid_command", why);
    if body.len() > MAX_BODY {
        return Err(invalid("a command has at most 64 KiB"));
    }
    let value = json::read(body)
        .map_err(|_| invalid("the message is no JSON, nests too deep, or names a field twice"))?;
    let Value::Object(mut fields) = value else {
        return Err(invalid("the message is no JSON object"));
    };
    if !is_packet(&fields) {
        return Ok(Request {
            name: routing_key.to_owned(),
            data: Value::Object(fields),
            id: None,
        });
    }
    let id = fields.remove("id");
    let id = id.and_then(|id| id.as_str().map(str::to_owned));
    Ok(Request {
        name: pattern(fields.remove("pattern")).ok_or_else(|| {
            invalid("the pattern is neither a command's name nor {\"cmd\": name}")
        })?,
        data: fields.remove("data").unwrap_or_else(|| json!({})),
        id: id.filter(|id| id.len() <= MAX_ID),
    })
}

/// Whether it is NestJS's packet. No command has a field `pattern`.
fn is_packet(fields: &Map<String, Value>) -> bool {
    fields.contains_key("pattern")
}

fn pattern(pattern: Option<Value>) -> Option<String> {
    match pattern? {
        // NestJS writes a pattern that is an object as text.
        Value::String(text) if text.starts_with('{') => {
            let object = json::read(text.as_bytes()).ok()?;
            Some(object["cmd"].as_str()?.to_owned())
        }
        Value::String(name) => Some(name),
        Value::Object(object) => Some(object.get("cmd")?.as_str()?.to_owned()),
        _ => None,
    }
}

/// A time, as answers have it.
pub fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Writes the answer to a command.
pub fn answer(result: &Result<Value, CommandError>, id: Option<&str>) -> Vec<u8> {
    let answer = Answer {
        response: result.as_ref().ok(),
        err: result.as_ref().err(),
        is_disposed: true,
        id,
    };
    serde_json::to_vec(&answer).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str, id: Option<&str>) -> Request {
        Request {
            name: name.into(),
            data: json!({ "hostId": 1 }),
            id: id.map(str::to_owned),
        }
    }

    #[test]
    fn a_packet_and_plain_data_are_the_same_command() {
        let packets = [
            r#"{"pattern":"host.status","data":{"hostId":1},"id":"x"}"#,
            r#"{"pattern":{"cmd":"host.status"},"data":{"hostId":1},"id":"x"}"#,
            r#"{"pattern":"{\"cmd\":\"host.status\"}","data":{"hostId":1},"id":"x"}"#,
        ];
        for packet in packets {
            // The routing key is the queue's name.
            let read = read("stripe.commands", packet.as_bytes()).unwrap();
            assert_eq!(read, request("host.status", Some("x")));
        }
        let plain = read("host.status", br#"{"hostId":1}"#).unwrap();
        assert_eq!(plain, request("host.status", None));
    }

    #[test]
    fn what_is_no_command_is_refused() {
        let long = format!("\"{}\"", "a".repeat(MAX_BODY));
        let wrong = [
            "",
            "x",
            "[]",
            "null",
            r#"{"pattern":1}"#,
            r#"{"pattern":{}}"#,
            r#"{"hostId":1,"hostId":2}"#,
            &long,
        ];
        for wrong in wrong {
            let error = read("host.status", wrong.as_bytes()).unwrap_err();
            assert_eq!(error.code, "invalid_command");
        }
    }

    #[test]
    fn an_answer_has_a_response_or_an_error() {
        let text = |result, id| String::from_utf8(answer(&result, id)).unwrap();
        assert_eq!(
            text(Ok(json!({ "a": 1 })), Some("x")),
            r#"{"response":{"a":1},"isDisposed":true,"id":"x"}"#
        );
        assert_eq!(
            text(Err(CommandError::new("c", "m").at("f")), None),
            r#"{"err":{"code":"c","message":"m","field":"f","retryable":false},"isDisposed":true}"#
        );
    }
}
