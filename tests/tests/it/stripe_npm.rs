//! Stripe's own package from npm: installed for the tests, and used as a client of
//! the stand-in.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use harness::{
    checkout,
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

/// Installs the packages that the lock names, where they are not installed yet, and
/// gives the folder.
pub(crate) fn install() -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let source = checkout::root().unwrap().join("tests/types");
    let folder = checkout::dev_folder().unwrap().join("stripe-types");
    checkout::make_folder(&folder).unwrap();
    let lock = |folder: &Path| fs::read(folder.join("package-lock.json")).unwrap_or_default();
    // It is written last, so that an installation that was killed is done again.
    let installed = folder.join("installed");
    let is_fresh = installed.exists() && lock(&folder) == lock(&source);
    if !is_fresh {
        let _ = fs::remove_file(&installed);
    }
    for file in FILES {
        fs::copy(source.join(file), folder.join(file)).unwrap();
    }
    if !is_fresh {
        let (done, text) = run(&folder, "npm", &["ci"]);
        assert!(
            done,
            "npm cannot install the packages of tests/types:\n{text}"
        );
        fs::write(&installed, "").unwrap();
    }
    folder
}

/// Runs a program there; gives whether it succeeded, and what it printed.
pub(crate) fn run(folder: &Path, program: &str, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(program);
    let output = command.args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| {
        panic!(
            "{program} does not run ({error}): install Node.js 20 or later with npm, in Debian \
             with `apt-get install nodejs npm`"
        )
    });
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn stripes_own_client_works_with_the_stand_in() {
    let folder = install();
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
    let client = move || run(&folder, "node", &["client.mjs", &address]);
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
