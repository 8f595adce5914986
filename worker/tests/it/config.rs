//! Each variable wrong or missing: exit 64, before anything is connected, and
//! one line that helps and tells no secret.

use std::process::Command;

use shared::config::Env;
use worker::config::{
    Config,
    commands::{AccountsApi, Bearer, HostMetadata},
};

const GOOD: [(&str, &str); 4] = [
    ("DATABASE_URL", "postgres://u:hidden-word@127.0.0.1:1/db"),
    ("AMQP_URL", "amqp://u:hidden-word@127.0.0.1:1"),
    ("STRIPE_MODE", "test"),
    ("WORKER_ADMIN_LISTEN", "127.0.0.1:0"),
];

/// What is said of these variables, the last of which is wrong.
fn refused_with(variables: &[(&str, &str)]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_worker"))
        .env_clear()
        .envs(GOOD)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{variables:?}: {stderr}");
    assert!(!stderr.contains("hidden-word"), "{stderr}");
    stderr
}

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
        ("BOOKING_METADATA_KEY", "commandAttempt", "other than"),
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
        ("COMMANDS_AMQP_URL", "http://u:hidden-word@h", "amqp"),
        (
            "COMMANDS_AMQP_URL",
            "amqp://u:1?hidden-word@h",
            "percent-encoded",
        ),
        ("REDIRECT_ORIGINS", "app.example.com", "https://"),
        ("REDIRECT_ORIGINS", "https://a.example/path", "commas"),
        ("REDIRECT_ORIGINS", "https://a.example,*", "commas"),
        ("STRIPE_ACCOUNTS_API", "v3", "v2, v1 or v1-type"),
        ("HOST_FEES_COLLECTOR", "platform", "stripe or application"),
        ("HOST_LOSSES_COLLECTOR", "host", "stripe or application"),
        ("HOST_METADATA", "yes", "confirm or ignore"),
        ("AUTOMATIC_TAX", "true", "yes or no"),
        ("ADAPTIVE_PRICING", "1", "yes or no"),
        ("APPLICATION_FEE_PERCENT", "101", "percentage"),
        ("APPLICATION_FEE_PERCENT", "ten", "percentage"),
        ("AMQP_PREFIX", "amq.x", "amq."),
        ("LOG_FORMAT", "xml", "json or text"),
        ("RUST_LOG", "worker=loud=very", "filter"),
    ] {
        let line = refused((name, Some(value)));
        assert!(line.contains(expected), "{line}");
    }
}

/// The limits of the rate are read where there is a key.
#[test]
fn a_rate_is_a_number_of_requests() {
    for name in ["STRIPE_RATE_LIMIT", "STRIPE_ENDPOINT_RATE_LIMIT"] {
        for wrong in ["0", "-1", "many", "1.5"] {
            let line = refused_with(&[("STRIPE_API_KEY", "sk_test_hidden-word"), (name, wrong)]);
            assert!(line.contains(name), "{line}");
            assert!(line.contains("requests in a second"), "{line}");
        }
    }
}

/// What Stripe allows: 100 requests in a second, 25 in a sandbox, and 25 to one endpoint.
#[test]
fn the_rates_are_stripes_where_none_is_set() {
    for (mode, key, rates) in [
        ("live", "sk_live_hidden-word", (100, 25)),
        ("test", "sk_test_hidden-word", (25, 25)),
    ] {
        let set = [("STRIPE_MODE", mode), ("STRIPE_API_KEY", key)];
        let env = Env::from_pairs(GOOD.iter().chain(&set).copied());
        let api = Config::from_env(&env).unwrap().api.unwrap();
        assert_eq!((api.rate.get(), api.endpoint_rate.get()), rates, "{mode}");
    }
}

/// With right values it goes on to the database, which is not there.
#[test]
fn right_values_of_the_commands_variables_are_taken() {
    let variables = [
        ("STRIPE_API_KEY", "rk_test_hidden-word"),
        ("STRIPE_RATE_LIMIT", "50"),
        ("STRIPE_ENDPOINT_RATE_LIMIT", "10"),
        ("COMMANDS_AMQP_URL", "amqps://u:hidden-word@h/commands"),
        (
            "REDIRECT_ORIGINS",
            "https://app.example.com, http://localhost:3000",
        ),
        ("STRIPE_ACCOUNTS_API", "v1-type"),
        ("HOST_FEES_COLLECTOR", "stripe"),
        ("HOST_LOSSES_COLLECTOR", "application"),
        ("HOST_METADATA", "ignore"),
        ("AUTOMATIC_TAX", "yes"),
    ];
    let env = Env::from_pairs(GOOD.iter().chain(&variables).copied());
    let config = Config::from_env(&env).unwrap();
    assert_eq!(config.commands.accounts_api, AccountsApi::V1Type);
    assert_eq!(config.commands.fees, Some(Bearer::Stripe));
    assert_eq!(config.commands.losses, Some(Bearer::Application));
    assert_eq!(config.commands.host_metadata, HostMetadata::Ignore);
    assert!(config.commands.automatic_tax);
    assert!(config.commands.origins.allow("http://localhost:3000/done"));
    let api = config.api.unwrap();
    assert_eq!((api.rate.get(), api.endpoint_rate.get()), (50, 10));
    let shown = format!("{:?}", (config.commands_amqp, api.base));
    assert!(!shown.contains("hidden-word"), "{shown}");

    let config = Config::from_env(&Env::from_pairs(GOOD)).unwrap();
    assert!(config.api.is_none());
    assert!(config.commands.origins.is_empty());
    assert_eq!(config.commands.host_metadata, HostMetadata::Confirm);
    assert_eq!(config.commands.accounts_api, AccountsApi::V2);
    assert_eq!((config.commands.fees, config.commands.losses), (None, None));
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
