//! What a panic leaves in the log.

use shared::config::Env;
use shared::telemetry::Telemetry;
use std::process::Command;

const CHILD: &str = "PANIC_IN_THIS_PROCESS";

#[test]
fn a_panic_is_logged_without_its_message() {
    if std::env::var_os(CHILD).is_some() {
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
            "panics::a_panic_is_logged_without_its_message",
            "--nocapture",
        ])
        .env(CHILD, "yes")
        .output()
        .unwrap();
    assert!(!child.status.success());
    let log = String::from_utf8(child.stderr).unwrap();
    assert!(log.contains("panicked"), "{log}");
    assert!(log.contains("shared/tests/it/panics.rs:"), "{log}");
    assert!(!log.contains("Lovelace"), "{log}");
}
