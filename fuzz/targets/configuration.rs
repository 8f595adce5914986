//! The environment variables of both services.
//!
//! Input: lines `NAME=value`. A `$` in a value stands for a word that must not
//! be seen anywhere, where the value is a secret.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::config::{ConfigError, Env};
use shared::telemetry::Telemetry;
use std::ffi::OsStr;
use std::fmt::Debug;
use std::os::unix::ffi::OsStrExt;

const HUSH: &str = "Zx9hushQ7";

/// What nobody has set, so that later variables are reached as well.
const DEFAULTS: [(&str, &str); 4] = [
    ("STRIPE_WEBHOOK_SECRETS", "whsec_a"),
    ("STRIPE_MODE", "test"),
    ("AMQP_URL", "amqp://broker"),
    ("DATABASE_URL", "postgres://database/shop"),
];

fuzz_target!(|input: &[u8]| {
    // A file that never ends could be named as a certificate.
    let names_a_device = input
        .windows(4)
        .any(|four| matches!(four, b"/dev" | b"/pro" | b"/sys"));
    if names_a_device {
        return;
    }
    let mut pairs: Vec<(String, Vec<u8>)> = DEFAULTS
        .iter()
        .map(|(name, value)| ((*name).into(), value.as_bytes().to_vec()))
        .collect();
    for line in input.split(|byte| *byte == b'\n') {
        let Some(equals) = line.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        let Ok(name) = str::from_utf8(&line[..equals]) else {
            continue;
        };
        let mut value = Vec::new();
        for byte in &line[equals + 1..] {
            match byte {
                b'$' => value.extend_from_slice(HUSH.as_bytes()),
                byte => value.push(*byte),
            }
        }
        pairs.push((name.to_owned(), value));
    }
    let env = Env::from_pairs(
        pairs
            .iter()
            .map(|(name, value)| (name.as_str(), OsStr::from_bytes(value))),
    );
    assert!(
        !format!("{env:?}").contains(HUSH) || pairs.iter().any(|(name, _)| name.contains(HUSH))
    );
    check(&pairs, ingest::config::Config::from_env(&env));
    check(&pairs, worker::config::Config::from_env(&env));
    check(&pairs, Telemetry::from_env(&env));
});

fn check<T: Debug>(pairs: &[(String, Vec<u8>)], read: Result<T, ConfigError>) {
    let secrets = [
        "STRIPE_WEBHOOK_SECRETS",
        "AMQP_URL",
        "DATABASE_URL",
        "STRIPE_API_KEY",
    ];
    match read {
        Ok(config) => {
            // A user, a host or a name may be seen, a password or a key not.
            let shown = format!("{config:?}");
            assert!(
                !shown.contains(HUSH) || pairs.iter().any(|(name, value)| may_be_seen(name, value)),
                "{shown}"
            );
        }
        Err(error) => {
            let line = error.to_string();
            assert_eq!(line.lines().count(), 1, "{line}");
            if secrets.contains(&error.variable) {
                let value = pairs.iter().rev().find(|(name, _)| name == error.variable);
                let value = value.map_or(&b""[..], |(_, value)| value);
                assert!(
                    !line.contains(HUSH) || may_be_seen(error.variable, value),
                    "{line}"
                );
            }
        }
    }
}

/// Whether the word stands in a part of the value that is no secret.
fn may_be_seen(name: &str, value: &[u8]) -> bool {
    let Ok(value) = str::from_utf8(value) else {
        return false;
    };
    match name {
        "STRIPE_API_KEY" => false,
        "STRIPE_WEBHOOK_SECRETS" => value.split(',').any(|entry| {
            let name = entry.split_once('=').map(|(name, _)| name);
            name.is_some_and(|name| name.contains(HUSH) && !entry.starts_with("whsec_"))
        }),
        "AMQP_URL" | "DATABASE_URL" => {
            value.matches(HUSH).count() > 1
                || url::Url::parse(value)
                    .is_ok_and(|url| !url.password().unwrap_or_default().contains(HUSH))
        }
        _ => value.contains(HUSH),
    }
}
