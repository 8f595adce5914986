//! The worker's start while the main app holds its tables: it waits for none of them.

use std::process::Stdio;

use crate::support::{
    Lab,
    payments::nth_paid,
    running::{declare, publish, until},
};
use harness::test_servers::TestBroker;
use tokio::process::{Child, Command};
use worker::service::check_owner_query;

const OWNER_QUERY: &str = r#"SELECT "id", 'acct_h' FROM "Booking" WHERE "id" = ANY($1)"#;

/// The whole worker, as a process of its own.
fn worker(lab: &Lab, broker: &TestBroker) -> Child {
    Command::new(env!("CARGO_BIN_EXE_worker"))
        .env_clear()
        .env("DATABASE_URL", lab.worker_url())
        .env("AMQP_URL", broker.url())
        .env("AMQP_PREFIX", broker.prefix())
        .env("STRIPE_MODE", "test")
        .env("WORKER_ADMIN_LISTEN", "127.0.0.1:0")
        .env("BOOKING_OWNER_QUERY", OWNER_QUERY)
        .args(["run", "--no-migrate"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Locks the main app's tables, as a migration of its own does that goes on for long.
const LOCK: &str = r#"BEGIN; LOCK "Booking", "Invoice", "HostOnboarding" IN ACCESS EXCLUSIVE MODE"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_starts_while_the_main_app_has_locked_its_tables() {
    for has_policies in [false, true] {
        starts(has_policies).await;
    }
}

async fn starts(has_policies: bool) {
    let (lab, broker) = (Lab::with_bookings(&[1]).await, TestBroker::new("start"));
    for table in ["Booking", "Invoice", "HostOnboarding"] {
        let policies = format!(
            r#"ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY;
            CREATE POLICY p ON "{table}" USING (true)"#
        );
        if has_policies {
            lab.client.batch_execute(&policies).await.unwrap();
        }
    }
    let holder = lab.database.connect().await.unwrap();
    holder.batch_execute(LOCK).await.unwrap();
    declare(&broker).await;
    let mut process = worker(&lab, &broker);
    publish(&broker, &nth_paid(0).of_account("acct_h")).await;
    let applied = "SELECT outcome FROM stripe.event";
    until(&lab.client, applied, "applied").await;
    assert!(process.try_wait().unwrap().is_none());
    holder.batch_execute("ROLLBACK").await.unwrap();
    let shown = r#"SELECT "stripeInvoiceId" FROM "Invoice""#;
    until(&lab.client, shown, "in_0").await;
    process.kill().await.unwrap();
}

/// A table that is locked says nothing of the query; the query itself is still looked at.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_owner_query_is_refused_and_one_that_meets_a_lock_is_not() {
    let mut lab = Lab::with_bookings(&[1]).await;
    let wrong = r#"SELECT "nobody" FROM "Booking" WHERE "id" = $1"#;
    for (query, is_right) in [(OWNER_QUERY, true), (wrong, false), ("SELECT $1 +", false)] {
        lab.executor.owner_query = Some(query.into());
        let checked = check_owner_query(&lab.executor).await;
        assert_eq!(checked.is_ok(), is_right, "{query}");
    }
    let holder = lab.database.connect().await.unwrap();
    holder.batch_execute(LOCK).await.unwrap();
    lab.executor.owner_query = Some(OWNER_QUERY.into());
    check_owner_query(&lab.executor).await.unwrap();
}
