//! Which of our crates may depend on what. `deny.toml` says the same to
//! cargo-deny; this holds it in every test run.

use std::{collections::BTreeMap, fs, process::Command};

use harness::checkout;
use serde_json::Value;

/// What a crate must not depend on itself, however its dependencies are made.
const FORBIDDEN: [(&str, &[&str]); 3] = [
    // Knows HTTP, signatures and the broker; no SQL, no Stripe object.
    (
        "ingest",
        &[
            "async-stripe",
            "diesel",
            "diesel-async",
            "diesel_migrations",
            "tokio-postgres",
            "worker",
            "harness",
        ],
    ),
    // Knows Stripe objects and Postgres; its admin listener is shared's.
    (
        "worker",
        &["hyper", "hyper-util", "http-body-util", "ingest", "harness"],
    ),
    // The words that both speak.
    (
        "shared",
        &[
            "async-stripe",
            "diesel",
            "diesel-async",
            "diesel_migrations",
            "tokio-postgres",
            "ingest",
            "worker",
            "harness",
        ],
    ),
];

/// What must not be in the tree at all: TLS is rustls, with ring.
const SECOND_TLS: [&str; 5] = [
    "native-tls",
    "openssl",
    "openssl-sys",
    "aws-lc-rs",
    "aws-lc-sys",
];

/// The direct dependencies of each crate of the workspace, those of its tests
/// left out.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(checkout::root().unwrap())
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let direct = |package: &Value| {
        let all = package["dependencies"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        all.iter()
            .filter(|dependency| dependency["kind"] != "dev")
            .map(|dependency| text(&dependency["name"]))
            .collect()
    };
    packages
        .iter()
        .map(|package| (text(&package["name"]), direct(package)))
        .collect()
}

#[test]
fn every_crate_keeps_to_its_layer() {
    let dependencies = dependencies();
    for (name, forbidden) in FORBIDDEN {
        let direct = dependencies
            .get(name)
            .expect("the crate is in the workspace");
        let wrong: Vec<&String> = direct
            .iter()
            .filter(|name| forbidden.contains(&name.as_str()))
            .collect();
        assert!(wrong.is_empty(), "{name} must not depend on {wrong:?}");
    }
}

#[test]
fn there_is_one_tls_stack() {
    let file = checkout::root().unwrap().join("Cargo.lock");
    let lock = fs::read_to_string(file).expect("Cargo.lock");
    for name in SECOND_TLS {
        assert!(
            !lock.contains(&format!("name = \"{name}\"\n")),
            "{name} is in Cargo.lock"
        );
    }
}
