//! What a panic leaves in the log.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and this one calls itself"
)]

use shared::config::Env;
use shared::telemetry::Telemetry;
use std::process::Command;

const CHILD: &str = "PANIC_IN_THIS_PROCESS";

#[test]
fn a_panic_is_logged_without_its_message() {
    if std::env::var(CHILD).is_ok() {
        Telemetry::from_env(&Env::default()).unwrap().start();
        let text = "Ada Lovelace, €";
        let at_hand = std::hint::black_box(text.len() - 1);
        // The message of this panic quotes the text.
        let _never = &text[at_hand..];
        return;
    }
    // In a process of its own: the hook is the whole process's.
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_panic_is_logged_without_its_message",
            "--nocapture",
        ])
        .env(CHILD, "yes")
        .output()
        .unwrap();
    assert!(!child.status.success());
    let log = String::from_utf8(child.stderr).unwrap();
    assert!(log.contains("panicked"), "{log}");
    assert!(log.contains("shared/tests/panics.rs:"), "{log}");
    assert!(!log.contains("Lovelace"), "{log}");
}
