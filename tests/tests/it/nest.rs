//! A user becomes a host, as a NestJS app sees it: the code of docs/MAIN_APP.md, npm's
//! packages, both services as processes, and a stand-in for Stripe. How the host sells is in
//! `nest_booking.rs`.

use std::process::Output;

use harness::{
    nest::{NestApp, NestProject},
    services::Service,
    stripe_api::{Options, Order, StandIn},
};
use serde_json::{Value, json};

use crate::support::{BOUND, Deployment, SECRET};

/// The document.
const MAIN_APP: &str = include_str!("../../../docs/MAIN_APP.md");

/// A worker that does commands against the stand-in.
async fn worker(dialoom: &Deployment, api: &StandIn) -> Service {
    let options = dialoom.commanding(api).env("AUTOMATIC_TAX", "yes");
    let worker = Service::start(options).await.unwrap();
    dialoom.until_commands().await;
    worker
}

impl Deployment {
    /// Runs a script of a project to its end.
    async fn run_script(&self, project: &NestProject, script: &str, arguments: &[&str]) -> Output {
        let run = project
            .script(script)
            .args(arguments)
            .env("AMQP_URL", self.broker.url())
            .env("AMQP_PREFIX", self.broker.prefix())
            .output();
        let run = tokio::time::timeout(BOUND, run).await;
        run.expect("it hangs").unwrap()
    }
}

async fn ask(app: &mut NestApp, method: &str, argument: Value) -> Result<Value, Value> {
    let arguments = [argument];
    let called = app.call("hosts", method, &arguments);
    tokio::time::timeout(BOUND, called)
        .await
        .expect("no answer")
        .unwrap()
}

/// A command waits for at most its expiration in the queue, and as long again in the worker. The
/// document's app waits for longer, so nothing is begun for it when it has given up.
#[test]
fn the_documents_app_waits_for_longer_than_a_command_may_wait() {
    let number = |text: &str| -> u64 {
        let digits = text.chars().filter(char::is_ascii_digit);
        digits.collect::<String>().parse().unwrap()
    };
    let mut calls = 0;
    let mut lines = MAIN_APP.lines();
    while let Some(line) = lines.next() {
        let Some((_, set)) = line.split_once("setOptions({ expiration: '") else {
            continue;
        };
        let expiration = number(set.split('\'').next().unwrap());
        let (_, waits) = lines.next().unwrap().split_once("timeout(").unwrap();
        let waits = number(waits.split(')').next().unwrap());
        assert!(2 * expiration < waits, "{expiration} {waits}");
        calls += 1;
    }
    assert_eq!(calls, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_of_a_host() {
    let dialoom = Deployment::start("nest").await;
    let api = StandIn::start(Options::default()).await.unwrap();
    let worker = worker(&dialoom, &api).await;
    let mut app = dialoom.nest_app(&[]).await;

    // Nobody has heard of her yet.
    let unknown = ask(&mut app, "status", json!(7)).await.unwrap_err();
    assert_eq!(
        (&unknown["code"], &unknown["field"]),
        (&json!("host_unknown"), &json!("hostId"))
    );

    // She wants to sell, and is sent to Stripe's form.
    let ada = json!({ "id": 7, "email": "ada@example.org", "country": "ES" });
    let answer = ask(&mut app, "onboard", ada.clone()).await.unwrap();
    let account = answer["stripeAccountId"].as_str().unwrap().to_owned();
    assert_eq!(answer["status"], "INCOMPLETE");
    let first = answer["url"].as_str().unwrap().to_owned();
    let row = r#"SELECT concat_ws(' ', "hostId", "status", "canSell") FROM "HostOnboarding""#;
    assert_eq!(dialoom.read(row).await, "7 INCOMPLETE f");

    // Her link is used up: she gets another, for the same account.
    let again = ask(&mut app, "onboard", ada.clone()).await.unwrap();
    assert_eq!(again["stripeAccountId"], *account);
    assert_ne!(again["url"], *first);

    // She fills the form in. Stripe tells of it in any order, twice, by both kinds of event.
    api.finish_onboarding(&account);
    api.deliver(&dialoom.ingest.url(), SECRET, Order::ShuffledTwice(7))
        .await
        .unwrap();
    dialoom.until(row, "7 ENABLED t").await;
    let status = ask(&mut app, "status", json!(7)).await.unwrap();
    assert_eq!(
        (&status["status"], &status["canSell"]),
        (&json!("ENABLED"), &json!(true))
    );
    assert_eq!(status["words"][0], "The host may sell.");
    let done = ask(&mut app, "onboard", ada).await.unwrap();
    assert_eq!(
        (&done["status"], &done["url"]),
        (&json!("ENABLED"), &Value::Null)
    );

    // Her invoices would have no tax.
    api.set_head_office(&account, Some("ES"));
    let invoicing = ask(&mut app, "invoicing", json!(7)).await.unwrap();
    assert_eq!(invoicing["ready"], false);
    let missing = invoicing["missing"].as_array().unwrap();
    assert!(
        missing
            .iter()
            .any(|one| one["field"] == "tax.registrations"),
        "{invoicing}"
    );

    let session = app
        .call("hosts", "session", &[json!(7), json!(["payments"])])
        .await;
    assert!(session.unwrap().unwrap()["clientSecret"].is_string());
    let dashboard = ask(&mut app, "dashboard", json!(7)).await.unwrap();
    let login = dashboard["url"].as_str().unwrap().to_owned();
    assert!(login.starts_with("https://"));
    assert_eq!(api.accounts().len(), 1);
    app.stop().await.unwrap();

    let log = worker.log();
    for secret in ["sk_test", "ada@", &login, &first, "Bearer"] {
        assert!(!log.contains(secret), "{secret} in the log:\n{log}");
    }
}

/// NestJS makes a queue of its own where it is not told otherwise: the broker refuses that,
/// the developer sees why, and the queue goes on.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_asserts_the_queue_is_refused_and_does_no_harm() {
    let dialoom = Deployment::start("assert").await;
    let api = StandIn::start(Options::default()).await.unwrap();
    let _worker = worker(&dialoom, &api).await;
    let project = NestProject::get().await.unwrap();
    let script = "dist/no-assert.js";
    let run = dialoom.run_script(project, script, &[]).await;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
    println!("{said}");
    assert!(said.contains("PRECONDITION_FAILED"), "{said}");
    let mut app = dialoom.nest_app(&[]).await;
    let unknown = ask(&mut app, "status", json!(7)).await.unwrap_err();
    assert_eq!(unknown["code"], "host_unknown");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn golevelups_client_is_answered_by_exchange_and_routing_key() {
    let dialoom = Deployment::start("golevelup").await;
    let api = StandIn::start(Options::default()).await.unwrap();
    let _worker = worker(&dialoom, &api).await;
    let project = NestProject::golevelup().await.unwrap();
    let script = "dist/golevelup.js";
    let run = dialoom.run_script(project, script, &["7"]).await;
    let said = String::from_utf8_lossy(&run.stdout);
    let last = said.lines().last().unwrap_or_default();
    let answer: Value = serde_json::from_str(last).expect(&said);
    assert_eq!(answer["err"]["code"], "host_unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_the_app_hears_that_commands_are_off() {
    let dialoom = Deployment::start("keyless").await;
    let _worker = dialoom.worker(dialoom.broker.url()).await;
    dialoom.until_commands().await;
    let mut app = dialoom.nest_app(&[]).await;
    let error = ask(&mut app, "status", json!(7)).await.unwrap_err();
    assert_eq!(error["code"], "not_configured");
    app.stop().await.unwrap();
}
