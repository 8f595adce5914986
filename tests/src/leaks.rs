//! Looks through logs for what must never stand in one: secrets, signatures,
//! bodies and personal data.
//!
//! Every [`Service`](crate::services::Service) that a test starts is looked
//! through when it goes. A service that runs inside a test logs to a [`Watch`].

use std::{
    collections::BTreeSet,
    io,
    sync::{Mutex, PoisonError},
};

/// Personal data of the sample events.
pub const PERSONAL: [&str; 5] = [
    "guest@dialoom.example",
    "Sample guest",
    "Sample street",
    "host@dialoom.example",
    "Sample host",
];

/// How the mail addresses of the tests' commands end: `anna@`, `ada@`, `grace@` and all others.
const MAILBOXES: [&str; 3] = ["@example.org", "@elsewhere.example", "@dialoom.example"];

/// Parts of bodies, as they stand in one, and as Rust writes them in a quoted
/// text, as bytes and as hex.
const OF_BODIES: [&str; 6] = [
    r#""object":"#,
    r#"\"object\""#,
    r#""data":"#,
    "pending_webhooks",
    "34, 111, 98, 106, 101, 99, 116, 34",
    "226f626a65637422",
];

/// How secrets, keys and signatures look.
const OF_SECRETS: [&str; 6] = [
    "whsec_", "sk_test_", "sk_live_", "rk_test_", "rk_live_", "v1=",
];

/// Digits of a signature, which is a SHA-256.
const SIGNATURE: usize = 64;

/// A password shorter than this could be a word of a sentence.
const SHORTEST_PASSWORD: usize = 12;

static PLANTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Remembers a secret of this process's tests.
pub fn plant(secret: &str) {
    if secret.len() >= SHORTEST_PASSWORD {
        let mut planted = PLANTED.lock().unwrap_or_else(PoisonError::into_inner);
        planted.insert(secret.to_owned());
    }
}

/// Remembers what is secret in a variable of a service's environment: all of a
/// key, every webhook secret, the password of an address.
pub fn plant_variable(name: &str, value: &str) {
    match name {
        "STRIPE_WEBHOOK_SECRETS" => {
            for secret in value.split(',') {
                plant(secret.rsplit('=').next().unwrap_or(secret));
            }
        }
        "STRIPE_API_KEY" => plant(value),
        "AMQP_URL" | "DATABASE_URL" => {
            let url = url::Url::parse(value).ok();
            plant(url.as_ref().and_then(url::Url::password).unwrap_or(""));
        }
        _ => {}
    }
}

/// What of a text must not be logged, in words; `None` where it may be.
#[must_use]
pub fn find(text: &str) -> Option<String> {
    let known = PERSONAL
        .iter()
        .chain(&MAILBOXES)
        .chain(&OF_BODIES)
        .chain(&OF_SECRETS);
    if let Some(found) = known.copied().find(|part| text.contains(part)) {
        return Some(format!("{found:?}"));
    }
    let planted = PLANTED.lock().unwrap_or_else(PoisonError::into_inner);
    if planted.iter().any(|secret| text.contains(secret.as_str())) {
        return Some("a secret".to_owned());
    }
    has_signature(text).then(|| "the digits of a signature".to_owned())
}

/// Whether a run of as many hexadecimal digits as a signature stands in a text.
/// The id of an unreadable dead letter is a hash as well, and says so.
fn has_signature(text: &str) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let mut start = 0;
    for run in text.as_bytes().split(|byte| !is_digit(byte)) {
        if run.len() >= SIGNATURE && !text[..start].ends_with("sha256-") {
            return true;
        }
        start += run.len() + 1;
    }
    false
}

/// Takes the log lines of a service that runs inside a test, and ends the whole
/// test with the first that must not be.
#[derive(Debug)]
pub struct Watch;

impl io::Write for Watch {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(found) = find(&String::from_utf8_lossy(line)) {
            // A panic here could be caught by the service.
            eprintln!(
                "a log line holds {found}: {}",
                String::from_utf8_lossy(line)
            );
            std::process::exit(101);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{find, plant, plant_variable};

    #[test]
    fn what_must_not_be_logged_is_found() {
        plant_variable(
            "STRIPE_WEBHOOK_SECRETS",
            "a=secret-of-the-a,secret-of-the-b",
        );
        plant_variable("DATABASE_URL", "postgres://u:secret-of-the-db@h/db");
        plant_variable("AMQP_URL", "amqp://u:secret-of-the-mq@h");
        plant("word");
        let body = br#"{"id":"evt_1","object":"event"}"#;
        let signature = "0123456789abcdef".repeat(4);
        for line in [
            "the key is secret-of-the-a",
            "the key is secret-of-the-b",
            "cannot reach postgres://u:secret-of-the-db@h/db",
            "cannot reach amqp://u:secret-of-the-mq@h",
            "whsec_anything",
            "Sample guest has paid",
            "no such host: anna@example.org",
            &format!("{body:?}"),
            &format!("{:?}", String::from_utf8_lossy(body)),
            &format!("{body:02x?}").replace(", ", ""),
            &format!("t=1760000000,v1={signature}"),
            &format!("got {signature}."),
            &signature,
        ] {
            assert!(find(line).is_some(), "{line}");
        }
    }

    #[test]
    fn what_may_be_logged_is_not() {
        plant("word");
        let id = format!("sha256-{}", "0123456789abcdef".repeat(4));
        for line in [
            "a password is a word",
            r#"{"level":"INFO","message":"listening","listen":"127.0.0.1:8080"}"#,
            "event=\"evt_1\" type=\"invoice.paid\" account=\"acct_1\" accepted",
            "parent=\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\"",
            "invoice.hosted_invoice_url is longer than 8192 bytes.",
            &format!("a dead letter cannot be written down: {id}"),
        ] {
            assert_eq!(find(line), None, "{line}");
        }
    }
}
