//! The worker can do its work with the rights that docs/DATABASE.md gives it, and
//! neither it nor the reader can do more.

use crate::support::{APPLIED, Lab};
use harness::tokio_postgres::{Client, error::SqlState};
use harness::{
    stripe::{Account, Event, Invoice},
    test_servers::roles::{self, READER, WORKER},
};
use store::{
    Database,
    deployment::{self, Deployment},
    migrations,
    retention::Kind,
};
use worker::{
    config::Retention,
    jobs::prune::{self, days},
};

/// Somebody connected with this role.
async fn as_role(lab: &Lab, role: &str) -> Client {
    let url = roles::url_as(lab.database.url(), role);
    let client = harness::servers::postgres::connect(&url).await.unwrap();
    let row = client.query_one("SELECT current_user::text", &[]).await;
    assert_eq!(row.unwrap().get::<_, String>(0), role);
    client
}

/// Every statement is refused for want of a right, and for nothing else.
async fn may_not(client: &Client, statements: &[String]) {
    for statement in statements {
        let done = client.batch_execute(statement).await;
        let refused = done.expect_err(statement);
        let code = refused.code().unwrap_or_else(|| panic!("{statement}"));
        let privilege = SqlState::INSUFFICIENT_PRIVILEGE;
        assert_eq!(*code, privilege, "{statement}: {refused}");
    }
}

async fn may(client: &Client, statements: &[&str]) {
    for statement in statements {
        let done = client.batch_execute(statement).await;
        assert!(done.is_ok(), "{statement}: {:?}", done.err());
    }
}

async fn tables(lab: &Lab) -> Vec<String> {
    lab.rows(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables \
         WHERE schemaname IN ('stripe', 'public') ORDER BY 1",
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workers_role_is_enough_for_its_work() {
    let lab = Lab::with_bookings(&[7]).await;
    let database = Database::parse(lab.worker_url()).unwrap();
    migrations::check(database.connect().await.unwrap())
        .await
        .unwrap();
    let paid = |id: &str, status: &str| {
        let object = Invoice {
            status: status.into(),
            booking: Some("7".into()),
            ..Invoice::default()
        };
        Event::new(id, "invoice.updated", object.value()).of_account("acct_a")
    };
    assert_eq!(lab.take_one(&paid("evt_1", "open")).await, APPLIED);
    assert_eq!(lab.take_one(&paid("evt_2", "paid")).await, APPLIED);
    let updated = Event::new("evt_3", "account.updated", Account::default().value());
    assert_eq!(lab.take_one(&updated).await, APPLIED);
    let mut voided = paid("evt_4", "void");
    voided.created += 1;
    assert_eq!(lab.take_one(&voided).await, APPLIED);
    assert_eq!(lab.project_pending().await, 0);
    let first = Deployment {
        mode: "test".into(),
        app_schema: "public".into(),
        amqp_prefix: String::new(),
    };
    let conn = database.connect().await.unwrap();
    assert_eq!(deployment::remember(&conn, &first).await.unwrap(), first);
    assert_eq!(deployment::find(&conn).await.unwrap(), Some(first));
    let (stop, retention) = (
        Default::default(),
        Retention {
            events_days: 0,
            ledger_days: 40,
        },
    );
    for kind in Kind::ALL {
        let days = days(retention, kind);
        let pruned = prune::prune(&lab.executor.pool, kind, days, &stop).await;
        assert!(pruned.is_ok(), "{}: {:?}", kind.name(), pruned.err());
    }
    assert!(
        migrations::up(database.connect().await.unwrap())
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workers_role_can_do_no_more() {
    let lab = Lab::with_bookings(&[7]).await;
    lab.client
        .batch_execute(r#"CREATE TABLE "User" ("id" int, "email" text)"#)
        .await
        .unwrap();
    let worker = as_role(&lab, WORKER).await;
    may(
        &worker,
        &[
            r#"SELECT * FROM "Booking""#,
            "SELECT * FROM stripe.dead_letter",
        ],
    )
    .await;
    let mut forbidden: Vec<String> = [
        r#"SELECT * FROM "User""#,
        r#"INSERT INTO "User" VALUES (1)"#,
        r#"INSERT INTO "Booking" VALUES (8)"#,
        r#"UPDATE "Booking" SET "id" = 9"#,
        r#"DELETE FROM "Booking""#,
        "DELETE FROM stripe.__diesel_schema_migrations",
        "DELETE FROM stripe.deployment",
        "UPDATE stripe.deployment SET mode = 'live'",
        "INSERT INTO stripe.made_here SELECT * FROM stripe.made_here",
        "CREATE TABLE stripe.mine (id int)",
        "CREATE TABLE public.mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "DROP SCHEMA stripe CASCADE",
        "COPY stripe.event TO PROGRAM 'cat'",
        "COPY stripe.event TO '/tmp/events'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT * FROM pg_authid",
    ]
    .map(str::to_owned)
    .to_vec();
    for table in tables(&lab).await {
        forbidden.push(format!("DROP TABLE {table}"));
        forbidden.push(format!("TRUNCATE {table}"));
        forbidden.push(format!("ALTER TABLE {table} ADD \"mine\" int"));
        forbidden.push(format!("CREATE INDEX ON {table} ((1))"));
    }
    may_not(&worker, &forbidden).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reader_reads_two_tables_and_writes_none() {
    let lab = Lab::with_bookings(&[7]).await;
    let reader = as_role(&lab, READER).await;
    may(
        &reader,
        &[
            r#"SELECT * FROM "Invoice""#,
            r#"SELECT * FROM "HostOnboarding""#,
        ],
    )
    .await;
    let mut forbidden = vec![
        r#"SELECT * FROM "Booking""#.to_owned(),
        "SELECT body FROM stripe.dead_letter".to_owned(),
        "SELECT bytes FROM stripe.event_archive".to_owned(),
        r#"UPDATE "HostOnboarding" SET "canSell" = true"#.to_owned(),
        r#"UPDATE "Invoice" SET "status" = 'PAID'"#.to_owned(),
        r#"SELECT nextval('"Invoice_id_seq"')"#.to_owned(),
    ];
    let all = tables(&lab).await;
    assert!(all.len() > 10, "{all:?}");
    for table in all {
        forbidden.push(format!("DELETE FROM {table}"));
        forbidden.push(format!("INSERT INTO {table} DEFAULT VALUES"));
        forbidden.push(format!("DROP TABLE {table}"));
        if table.starts_with("stripe.") {
            forbidden.push(format!("SELECT 1 FROM {table}"));
        }
    }
    may_not(&reader, &forbidden).await;
}
