//! A database belongs to the deployment of its first start: another mode, schema or prefix
//! is refused, with one line and exit code 64.

use std::process::{Command, Output};

use crate::support::{APPLIED, Lab, invoices::paid, migrated, migrating};
use harness::{
    private::PrivateFolder,
    services::{Service, ServiceOptions},
    test_servers::TestBroker,
};
use store::migrations;

/// Runs `worker run`, or another command, which is to end by itself.
fn run(broker: &TestBroker, url: &str, arguments: &[&str], changes: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
    command
        .env_clear()
        .env("DATABASE_URL", url)
        .env("AMQP_URL", broker.url())
        .env("AMQP_PREFIX", broker.prefix())
        .env("STRIPE_MODE", "test")
        .env("WORKER_ADMIN_LISTEN", "127.0.0.1:0")
        .envs(changes.iter().copied())
        .args(arguments);
    command.output().unwrap()
}

/// The line that says why, behind what was logged before it.
fn refusal(output: &Output) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(64), "{said}");
    said.lines().last().unwrap_or_default().to_owned()
}

/// A worker that runs until it is ready.
async fn started(broker: &TestBroker, url: &str) {
    let folder = PrivateFolder::make("deployment").unwrap();
    let options = ServiceOptions::worker(folder.path())
        .unwrap()
        .env("AMQP_URL", broker.url())
        .env("AMQP_PREFIX", broker.prefix())
        .env("DATABASE_URL", url)
        .env("STRIPE_MODE", "test");
    let mut worker = Service::start(options).await.unwrap();
    worker.terminate().await.unwrap();
}

const REMEMBERED: &str =
    "SELECT concat_ws(' ', mode, app_schema, amqp_prefix) FROM stripe.deployment";

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_is_remembered_and_another_deployment_is_refused() {
    let broker = TestBroker::new("deployment");
    let lab = Lab::new().await;
    let url = lab.worker_url();
    lab.client
        .batch_execute("CREATE SCHEMA shop")
        .await
        .unwrap();
    lab.client
        .batch_execute("GRANT USAGE ON SCHEMA shop TO PUBLIC")
        .await
        .unwrap();
    started(&broker, lab.database.url()).await;
    let ours = format!("test public {}", broker.prefix());
    assert_eq!(lab.rows(REMEMBERED).await, std::slice::from_ref(&ours));

    let shop = format!("{url}&schema=shop");
    for (url, changes, said) in [
        (
            url,
            &[("STRIPE_MODE", "live")][..],
            r#"STRIPE_MODE holds "live"; expected test, "#,
        ),
        (
            url,
            &[("AMQP_PREFIX", "other.")],
            r#"AMQP_PREFIX holds "other."; expected ""#,
        ),
        (
            url,
            &[("AMQP_PREFIX", "")],
            r#"AMQP_PREFIX holds nothing; expected ""#,
        ),
        (
            &shop,
            &[],
            r#"the schema of DATABASE_URL holds "shop"; expected "public", "#,
        ),
    ] {
        for arguments in [&["run"][..], &["run", "--no-migrate"]] {
            let output = run(&broker, url, arguments, changes);
            let all = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(all.lines().count(), 1, "{all}");
            let line = refusal(&output);
            assert!(line.starts_with(said), "{line}");
            assert!(
                line.contains("another database, named by DATABASE_URL"),
                "{line}"
            );
        }
    }
    // A replay would send to the other deployment's queue.
    let replay = ["dead-letters", "replay", "--all", "--yes"];
    lab.take_bytes(&[b"{}".to_vec()]).await;
    let line = refusal(&run(&broker, url, &replay, &[("AMQP_PREFIX", "other.")]));
    assert!(line.starts_with("AMQP_PREFIX holds"), "{line}");
    assert_eq!(lab.rows(REMEMBERED).await, [ours]);
    let shops = "SELECT relname::text FROM pg_class WHERE relnamespace = 'shop'::regnamespace";
    assert!(lab.rows(shops).await.is_empty());
    started(&broker, lab.database.url()).await;
}

/// An upgraded database has no first start on record, and still must not be taken over.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_an_earlier_release_is_held_to_the_mode_of_its_events() {
    let broker = TestBroker::new("earlier");
    let lab = Lab::new().await;
    assert_eq!(lab.take_one(&paid("evt_1", "7")).await, APPLIED);
    // An event of the other mode was ignored, and says nothing of the database.
    let mut live = paid("evt_2", "7");
    live.livemode = true;
    lab.take_one(&live).await;
    let output = run(
        &broker,
        lab.database.url(),
        &["run"],
        &[("STRIPE_MODE", "live")],
    );
    let line = refusal(&output);
    assert!(
        line.starts_with(r#"STRIPE_MODE holds "live"; expected test, "#),
        "{line}"
    );
    assert!(lab.rows(REMEMBERED).await.is_empty());
    started(&broker, lab.database.url()).await;
    assert_eq!(lab.rows(REMEMBERED).await.len(), 1);
}

/// Another deployment's worker of a later release must not migrate the database first.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_migrated_before_the_refusal() {
    let broker = TestBroker::new("before");
    let database = migrated().await;
    started(&broker, database.url()).await;
    let client = database.connect().await.unwrap();
    let version = "SELECT max(version) FROM stripe.__diesel_schema_migrations";
    let pending =
        format!("DELETE FROM stripe.__diesel_schema_migrations WHERE version = ({version})");
    client.batch_execute(&pending).await.unwrap();
    let output = run(
        &broker,
        database.url(),
        &["run"],
        &[("STRIPE_MODE", "live")],
    );
    assert!(refusal(&output).starts_with("STRIPE_MODE"));
    let row = client.query_one(
        "SELECT count(*) FROM stripe.__diesel_schema_migrations",
        &[],
    );
    let ran: i64 = row.await.unwrap().get(0);
    assert_eq!(ran, i64::try_from(migrating::count()).unwrap() - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_first_starts_at_once_one_counts() {
    let database = migrated().await;
    let deployment = |prefix: &str| store::deployment::Deployment {
        mode: "test".into(),
        app_schema: "public".into(),
        amqp_prefix: prefix.into(),
    };
    let connection = migrating::database(database.url()).connect().await.unwrap();
    let other = migrating::database(database.url()).connect().await.unwrap();
    let (a, b) = (deployment("a."), deployment("b."));
    let (first, second) = tokio::join!(
        store::deployment::remember(&connection, &a),
        store::deployment::remember(&other, &b)
    );
    let first = first.unwrap();
    assert_eq!(first, second.unwrap());
    assert!(first == a || first == b);
    assert!(migrations::check(connection).await.is_ok());
}
