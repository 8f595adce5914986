//! Stripe's own package from npm: installed for the tests, and used as a client of
//! the stand-in.

use std::fs;

use harness::{
    checkout,
    npm::Packages,
    stripe_api::{Fault, Kind, Options, RateLimit, StandIn},
};
use serde_json::{Value, json};

/// What is copied of `tests/types`.
const FILES: [&str; 8] = [
    ".npmrc",
    "check.mjs",
    "client.mjs",
    "package-lock.json",
    "package.json",
    "parameters.mjs",
    "tsconfig.json",
    "wire.ts",
];

/// Installs the packages that the lock names, where they are not installed yet.
pub(crate) fn install() -> Packages {
    let source = checkout::root().unwrap().join("tests/types");
    let files = FILES.map(|name| (name.to_owned(), fs::read(source.join(name)).unwrap()));
    Packages::install("types", &files).unwrap()
}

/// Runs a script there; gives whether it succeeded, and what it printed.
pub(crate) fn run(packages: &Packages, script: &str, arguments: &[&str]) -> (bool, String) {
    let output = packages.script(script).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn stripes_own_client_works_with_the_stand_in() {
    let packages = install();
    let api = StandIn::start(Options::default()).await.unwrap();
    // The client tries again by itself, with the same key.
    api.fault(Fault::post("/v1/accounts", Kind::Conflict409));
    api.fault(Fault::post(
        "/v2/core/accounts",
        Kind::Status500 { took_effect: true },
    ));
    api.fault(
        Fault::get("/v1/accounts", Kind::RateLimited(RateLimit::GlobalRate)).should_retry(true),
    );
    let address = api.base_url().to_owned();
    let client = move || run(&packages, "client.mjs", &[&address]);
    let (done, text) = tokio::task::spawn_blocking(client).await.unwrap();
    assert!(done, "{text}");
    let seen: Value = serde_json::from_str(text.trim()).unwrap();
    let ids: Vec<Value> = api.accounts().iter().map(|one| one["id"].clone()).collect();
    assert_eq!(
        json!(ids),
        json!([seen["second"], seen["first"]]),
        "one account each"
    );
    let error = |name: &str, field: &str| seen["errors"][name][field].clone();
    for (name, kind, status) in [
        ("unknown", "StripeInvalidRequestError", 400),
        ("reused", "StripeIdempotencyError", 400),
        ("unknownAccount", "StripePermissionError", 403),
        ("newField", "StripeInvalidRequestError", 400),
        ("key", "StripeAuthenticationError", 401),
    ] {
        assert_eq!(error(name, "type"), kind, "{name}");
        assert_eq!(error(name, "status"), status, "{name}");
    }
    assert_eq!(error("unknown", "param"), "color");
}
