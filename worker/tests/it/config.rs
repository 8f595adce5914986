//! Each variable wrong or missing: exit 64, before anything is connected, and
//! one line that helps and tells no secret.

use std::process::Command;

const GOOD: [(&str, &str); 4] = [
    ("DATABASE_URL", "postgres://u:hidden-word@127.0.0.1:1/db"),
    ("AMQP_URL", "amqp://u:hidden-word@127.0.0.1:1"),
    ("STRIPE_MODE", "test"),
    ("WORKER_ADMIN_LISTEN", "127.0.0.1:0"),
];

fn refused(change: (&str, Option<&str>)) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
    command.env_clear().envs(GOOD);
    match change {
        (name, Some(value)) => command.env(name, value),
        (name, None) => command.env_remove(name),
    };
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{change:?}: {stderr}");
    assert!(output.stdout.is_empty());
    assert_eq!(stderr.lines().count(), 1, "{change:?}: {stderr}");
    assert!(stderr.contains(change.0), "{change:?}: {stderr}");
    assert!(!stderr.contains("hidden-word"), "{change:?}: {stderr}");
    stderr
}

#[test]
fn each_variable_that_is_missing_is_named() {
    for name in ["DATABASE_URL", "AMQP_URL", "STRIPE_MODE"] {
        let line = refused((name, None));
        assert!(line.contains("expected"), "{line}");
    }
}

#[test]
fn each_variable_that_is_wrong_is_named_with_what_is_expected() {
    for (name, value, expected) in [
        ("DATABASE_URL", "mysql://u:hidden-word@h/db", "postgres://"),
        (
            "DATABASE_URL",
            "postgres://u:hidden-word@h/db?sslmode=often",
            "sslmode",
        ),
        (
            "DATABASE_URL",
            "postgres://u:hidden-word@h/db?sslmode=verify-full&sslrootcert=/no/file",
            "sslrootcert",
        ),
        (
            "DATABASE_URL",
            "postgres://u:p?hidden-word@h/db",
            "percent-encoded",
        ),
        ("AMQP_URL", "http://u:hidden-word@h", "amqp"),
        ("AMQP_URL", "amqp://u:1?hidden-word@h", "percent-encoded"),
        ("STRIPE_MODE", "both", "live or test"),
        ("WORKER_ADMIN_LISTEN", "8082", "127.0.0.1:8082"),
        ("BOOKING_METADATA_KEY", "a[b]", "40 characters"),
        ("BOOKING_OWNER_QUERY", "SELECT 1; DROP TABLE x", "$1"),
        ("STRIPE_API_KEY", "hidden-word", "sk_"),
        ("STRIPE_API_KEY", "sk_live_hidden-word", "STRIPE_MODE"),
        ("STRIPE_API_KEY", "rk_live_hidden-word", "STRIPE_MODE"),
        ("STRIPE_API_BASE", "ftp://x", "https://"),
        ("STRIPE_API_BASE", "http://127.0.0.1.example/", "https://"),
        ("STRIPE_API_BASE", "http://127.0.0.1:1@example/", "https://"),
        (
            "STRIPE_API_BASE",
            "https://u:hidden-word@example/",
            "https://",
        ),
        ("CHANGES", "on", "yes or no"),
        ("AMQP_PREFIX", "amq.x", "amq."),
        ("LOG_FORMAT", "xml", "json or text"),
        ("RUST_LOG", "worker=loud=very", "filter"),
    ] {
        let line = refused((name, Some(value)));
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn help_teaches_and_needs_no_configuration() {
    let output = Command::new(env!("CARGO_BIN_EXE_worker"))
        .env_clear()
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for word in ["run", "migrate", "healthcheck"] {
        assert!(text.contains(word), "{text}");
    }
}
