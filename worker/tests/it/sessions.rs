//! The worker's sessions hold what its promise needs, whatever the database, the role or
//! the server has as default.

use crate::support::{
    APPLIED, Lab,
    invoices::{event, paid, session},
    migrated,
};
use harness::{
    private::PrivateFolder,
    services::{Service, ServiceOptions},
    test_servers::{TestBroker, TestDatabase},
};
use serde_json::{Value, json};
use store::Database;

/// Defaults that break something, and what the worker's sessions hold.
const DEFAULTS: [(&str, &str, &str); 21] = [
    (
        "default_transaction_isolation",
        "'repeatable read'",
        "read committed",
    ),
    (
        "default_transaction_isolation",
        "'serializable'",
        "read committed",
    ),
    ("synchronous_commit", "off", "on"),
    ("synchronous_commit", "local", "on"),
    ("synchronous_commit", "remote_write", "on"),
    ("synchronous_commit", "on", "on"),
    ("synchronous_commit", "remote_apply", "remote_apply"),
    ("TimeZone", "'Asia/Kathmandu'", "UTC"),
    ("lock_timeout", "0", "500ms"),
    ("lock_timeout", "'10min'", "500ms"),
    ("statement_timeout", "0", "30s"),
    ("statement_timeout", "'1ms'", "30s"),
    ("idle_in_transaction_session_timeout", "0", "10s"),
    ("idle_session_timeout", "'1s'", "0"),
    ("row_security", "on", "off"),
    ("standard_conforming_strings", "off", "on"),
    ("transaction_timeout", "'1s'", "0"),
    ("tcp_keepalives_idle", "7200", "30"),
    ("tcp_keepalives_interval", "75", "10"),
    ("tcp_keepalives_count", "9", "3"),
    ("tcp_user_timeout", "0", "60000"),
];

async fn set(database: &TestDatabase, setting: &str, value: &str) {
    let client = database.connect().await.unwrap();
    let name = database.name();
    let change = format!("ALTER DATABASE {name} SET {setting} = {value}");
    client.batch_execute(&change).await.unwrap();
}

/// What a session of the worker's pool holds.
async fn held(database: &TestDatabase, setting: &str) -> String {
    let pool = Database::parse(database.url()).unwrap().pool();
    let conn = pool.get().await.unwrap();
    store::session::setting(&conn, setting).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_does_not_take_the_databases_defaults() {
    for (setting, default, expected) in DEFAULTS {
        let database = migrated().await;
        let client = database.connect().await.unwrap();
        let known = "SELECT FROM pg_settings WHERE name = $1";
        if client
            .query_opt(known, &[&setting])
            .await
            .unwrap()
            .is_none()
        {
            continue;
        }
        set(&database, setting, default).await;
        let found = held(&database, setting).await;
        assert_eq!(found, expected, "{setting} = {default}");
    }
}

/// An invoice and its session at once, by two workers, in a database whose snapshots are
/// taken before the writers' lock is had: one of them would miss the other.
#[tokio::test(flavor = "multi_thread")]
async fn pairs_are_joined_where_the_default_is_repeatable_read() {
    const PAIRS: usize = 40;
    let database = migrated().await;
    set(
        &database,
        "default_transaction_isolation",
        "'repeatable read'",
    )
    .await;
    let first = Lab::on(database).await;
    let second = Database::parse(first.worker_url()).unwrap().pool();
    let mut other = first.executor.clone();
    other.pool = second;
    for pair in 1..=PAIRS {
        let id = format!("in_{pair}");
        let mut invoice = paid(&format!("evt_i{pair}"), "").object;
        invoice["id"] = json!(id);
        invoice["metadata"] = json!({});
        let mut checkout = session(Value::String(id));
        checkout["id"] = json!(format!("cs_{pair}"));
        checkout["metadata"]["dialoomBookingId"] = json!(pair.to_string());
        let invoice = event(&format!("evt_i{pair}"), "invoice.paid", invoice);
        let checkout = event(
            &format!("evt_s{pair}"),
            "checkout.session.completed",
            checkout,
        );
        let deliveries = [crate::support::delivery(&checkout.bytes())];
        let stop = tokio_util::sync::CancellationToken::new();
        let (taken, executed) =
            tokio::join!(first.take_one(&invoice), other.execute(&deliveries, &stop));
        assert_eq!(taken, APPLIED);
        assert_eq!(executed.unwrap().len(), 1);
    }
    assert_eq!(first.invoices().await.len(), PAIRS);
    assert_eq!(first.waiting().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_path_that_changes_ends_in_an_error_and_not_in_other_tables() {
    let database = migrated().await;
    let worker = Database::parse(database.url()).unwrap();
    assert!(worker.connect().await.is_ok());
    let client = database.connect().await.unwrap();
    client.batch_execute("CREATE SCHEMA other").await.unwrap();
    set(&database, "search_path", "other, public").await;
    let refused = worker.connect().await.err().unwrap();
    let line = shared::telemetry::report(&refused);
    let expected = r#"leads to the schema "other", and led to "public" before"#;
    assert!(line.contains(expected), "{line}");
    // Where the URL names the schema, nothing else does.
    let named = Database::parse(&format!("{}?schema=public", database.url())).unwrap();
    assert!(named.connect().await.is_ok());
}

/// A text that Stripe sends may have no form in the database's encoding.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_encoding_is_refused() {
    let database = TestDatabase::empty("latin").await.unwrap();
    let client = database.connect().await.unwrap();
    let name = format!("{}_1", database.name());
    let create = format!(
        "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
    );
    client.batch_execute(&create).await.unwrap();
    let url = database.url().replace(database.name(), &name);
    let refused = Database::parse(&url).unwrap().connect().await.err();
    let line = shared::telemetry::report(&refused.unwrap());
    let drop = format!("DROP DATABASE {name} WITH (FORCE)");
    client.batch_execute(&drop).await.unwrap();
    let expected = r#"server_encoding is "LATIN1" and has to be "UTF8""#;
    assert!(line.contains(expected), "{line}");
}

/// The pool would keep the session, and refuse every write after the database takes them.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_begins_read_only_is_not_kept() {
    let database = migrated().await;
    set(&database, "default_transaction_read_only", "on").await;
    let worker = Database::parse(database.url()).unwrap();
    let connection = worker.connect().await.unwrap();
    assert!(!store::session::takes_writes(&connection).await.unwrap());
    let pool = worker.pool();
    let refused = pool.dedicated_connection().await.err().unwrap();
    assert!(refused.to_string().contains("takes no writes"), "{refused}");
    let client = database.connect().await.unwrap();
    let name = database.name();
    let writes = "SET default_transaction_read_only = off";
    client.batch_execute(writes).await.unwrap();
    let reset = format!("ALTER DATABASE {name} RESET default_transaction_read_only");
    client.batch_execute(&reset).await.unwrap();
    assert!(pool.get().await.is_ok());
}

/// What no session can change is said at start.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_forget_commits_is_warned_of() {
    let database = migrated().await;
    let client = database.connect().await.unwrap();
    let row = client.query_one("SHOW fsync", &[]).await.unwrap();
    let fsync: String = row.get(0);
    let broker = TestBroker::new("fsync");
    let folder = PrivateFolder::make("fsync").unwrap();
    let options = ServiceOptions::worker(folder.path())
        .unwrap()
        .env("AMQP_URL", broker.url())
        .env("AMQP_PREFIX", broker.prefix())
        .env("DATABASE_URL", database.url())
        .env("STRIPE_MODE", "test");
    let worker = Service::start(options).await.unwrap();
    let is_warned = worker
        .log()
        .contains("fsync is off in the database's server");
    assert_eq!(is_warned, fsync == "off", "{}", worker.log());
}
