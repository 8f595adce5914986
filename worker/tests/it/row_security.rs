//! Row-level security: what the worker's role would not see is said at start, and is an
//! error and no empty answer while the worker runs.

use std::process::Command;

use crate::support::{APPLIED, Lab, invoices::paid};
use harness::test_servers::{
    TestBroker,
    roles::{self, WORKER},
};
use store::{
    Database,
    main_app::booking,
    row_security::{self, HiddenTable},
    session,
};

/// The worker's tables of which its role does not see or may not write every row, and what
/// its session holds for `row_security`.
async fn seen(url: &str) -> (Vec<String>, String) {
    let connection = Database::parse(url).unwrap().connect().await.unwrap();
    let hidden = row_security::hidden(&connection).await.unwrap();
    let tables = hidden.into_iter().map(|one: HiddenTable| one.table);
    let setting = session::setting(&connection, "row_security").await.unwrap();
    (tables.collect(), setting)
}

const INVOICE: &str = r#""Invoice""#;

/// What somebody does to a table, and whether it hides rows from the worker's role.
fn policies() -> Vec<(String, bool)> {
    let all = "FOR ALL USING (true)";
    vec![
        (String::new(), true),
        (format!("CREATE POLICY p ON {INVOICE} {all}"), false),
        (
            format!("CREATE POLICY p ON {INVOICE} {all} WITH CHECK (true)"),
            false,
        ),
        (
            format!("CREATE POLICY p ON {INVOICE} TO {WORKER} USING (true)"),
            false,
        ),
        (
            format!(r#"CREATE POLICY p ON {INVOICE} USING ("id" > 0)"#),
            true,
        ),
        (
            format!(r#"CREATE POLICY p ON {INVOICE} USING (true) WITH CHECK ("id" > 0)"#),
            true,
        ),
        (
            format!("CREATE POLICY p ON {INVOICE} FOR SELECT USING (true)"),
            true,
        ),
        (format!("CREATE POLICY p ON {INVOICE} USING (false)"), true),
        (
            format!("CREATE POLICY p ON {INVOICE} USING (NULL::boolean)"),
            true,
        ),
        (
            format!("CREATE POLICY p ON {INVOICE} USING (NOT true)"),
            true,
        ),
        (
            format!(
                "CREATE POLICY p ON {INVOICE} TO {} USING (true)",
                roles::READER
            ),
            true,
        ),
        (
            format!(
                r#"CREATE POLICY p ON {INVOICE} {all}; CREATE POLICY q ON {INVOICE} AS RESTRICTIVE USING ("id" > 0)"#
            ),
            true,
        ),
        (
            format!(
                "CREATE POLICY a ON {INVOICE} FOR SELECT USING (true); \
                 CREATE POLICY b ON {INVOICE} FOR INSERT WITH CHECK (true); \
                 CREATE POLICY c ON {INVOICE} FOR UPDATE USING (true); \
                 CREATE POLICY d ON {INVOICE} FOR DELETE USING (true)"
            ),
            false,
        ),
        (
            format!("ALTER TABLE {INVOICE} DISABLE ROW LEVEL SECURITY"),
            false,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_read_as_postgres_applies_them() {
    let lab = Lab::with_bookings(&[7]).await;
    for (policy, hides) in policies() {
        let before = format!(
            "DROP POLICY IF EXISTS p ON {INVOICE}; DROP POLICY IF EXISTS q ON {INVOICE}; \
             ALTER TABLE {INVOICE} ENABLE ROW LEVEL SECURITY; {policy}"
        );
        lab.client.batch_execute(&before).await.unwrap();
        let (hidden, setting) = seen(lab.worker_url()).await;
        assert_eq!(!hidden.is_empty(), hides, "{policy}: {hidden:?}");
        let open = !hides && !policy.contains("DISABLE");
        assert_eq!(setting == "on", open, "{policy}");
        // The owner is not subject to policies that are not forced.
        assert_eq!(seen(lab.database.url()).await, (Vec::new(), "off".into()));
    }
}

/// The main app alters a table whose policies let the worker see every row: sessions open.
#[tokio::test(flavor = "multi_thread")]
async fn policies_are_read_while_their_tables_are_locked() {
    let lab = Lab::with_bookings(&[7]).await;
    let policies = r#"ALTER TABLE "Invoice" ENABLE ROW LEVEL SECURITY;
        ALTER TABLE "Booking" ENABLE ROW LEVEL SECURITY;
        CREATE POLICY p ON "Invoice" USING (true) WITH CHECK ('yes'::boolean);
        CREATE POLICY p ON "Booking" FOR SELECT USING (true)"#;
    lab.client.batch_execute(policies).await.unwrap();
    let lock = r#"BEGIN; LOCK "Invoice", "Booking" IN ACCESS EXCLUSIVE MODE"#;
    lab.client.batch_execute(lock).await.unwrap();
    assert_eq!(seen(lab.worker_url()).await, (Vec::new(), "on".into()));
    lab.client.batch_execute("ROLLBACK").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_of_the_worker_is_looked_at() {
    let lab = Lab::with_bookings(&[7]).await;
    for table in [r#""HostOnboarding""#, r#""Booking""#, "stripe.event"] {
        let enable = format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY");
        lab.client.batch_execute(&enable).await.unwrap();
        let (hidden, setting) = seen(lab.worker_url()).await;
        assert_eq!((hidden, setting), (vec![table.to_owned()], "off".into()));
        let disable = format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY");
        lab.client.batch_execute(&disable).await.unwrap();
    }
    // Bookings are only read.
    let read = r#"ALTER TABLE "Booking" ENABLE ROW LEVEL SECURITY;
        CREATE POLICY p ON "Booking" FOR SELECT USING (true)"#;
    lab.client.batch_execute(read).await.unwrap();
    assert_eq!(seen(lab.worker_url()).await, (Vec::new(), "on".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_a_policy_for_all_rows_does_its_work() {
    let lab = Lab::with_bookings(&[7]).await;
    lab.client
        .batch_execute(
            r#"ALTER TABLE "Invoice" ENABLE ROW LEVEL SECURITY;
               ALTER TABLE "Booking" ENABLE ROW LEVEL SECURITY;
               CREATE POLICY worker ON "Invoice" USING (true);
               CREATE POLICY worker ON "Booking" FOR SELECT USING (true)"#,
        )
        .await
        .unwrap();
    assert_eq!(lab.take_one(&paid("evt_1", "7")).await, APPLIED);
    assert_eq!(lab.invoices().await.len(), 1);
}

/// A policy that comes while the worker runs: its sessions refuse to read around it.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_rows_are_hidden_is_an_error_and_not_empty() {
    let lab = Lab::with_bookings(&[7]).await;
    let connection = Database::parse(lab.worker_url()).unwrap().connect().await;
    let connection = connection.unwrap();
    lab.client
        .batch_execute(r#"ALTER TABLE "Booking" ENABLE ROW LEVEL SECURITY"#)
        .await
        .unwrap();
    let query = r#"SELECT "id"::text FROM "Booking" WHERE "id" = $1"#;
    let error = booking::owners(&connection, Some(query), &[7]).await;
    let line = shared::telemetry::report(&error.unwrap_err());
    assert!(line.contains("row-level security"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_would_not_see_every_row_ends_with_the_table_the_role_and_the_way_out() {
    let lab = Lab::with_bookings(&[7]).await;
    lab.client
        .batch_execute(r#"ALTER TABLE "Booking" ENABLE ROW LEVEL SECURITY"#)
        .await
        .unwrap();
    let broker = TestBroker::new("rls");
    let output = Command::new(env!("CARGO_BIN_EXE_worker"))
        .env_clear()
        .env("DATABASE_URL", lab.worker_url())
        .env("AMQP_URL", broker.url())
        .env("AMQP_PREFIX", broker.prefix())
        .env("STRIPE_MODE", "test")
        .env("WORKER_ADMIN_LISTEN", "127.0.0.1:0")
        .args(["run", "--no-migrate"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let line = said.lines().last().unwrap();
    let expected = format!(
        "row-level security hides rows of \"Booking\" from the role {WORKER}, or refuses them: \
         run ALTER ROLE {WORKER} BYPASSRLS"
    );
    assert!(line.contains(&expected), "{line}");
}
