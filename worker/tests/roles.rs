//! The worker runs with the rights that docs/DATABASE.md gives it, and the
//! reader cannot write.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use harness::stripe::{Account, Event, Invoice};
use support::{APPLIED, Lab};
use worker::store::{connect::Database, migrate};

/// The statements of the document's section "Roles", with names of this test's
/// own: roles belong to the whole server.
fn statements(suffix: &str) -> String {
    let text = include_str!("../../docs/DATABASE.md");
    let section = text.split("## Roles").nth(1).unwrap();
    let lines = section.lines().filter(|line| line.starts_with("    "));
    lines
        .collect::<Vec<_>>()
        .join("\n")
        .replace("dialoom_", &format!("dialoom_{suffix}_"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_roles_are_enough_and_no_more() {
    let mut lab = Lab::with_bookings(&[7]).await;
    let suffix = lab.database.name().to_owned();
    lab.client
        .batch_execute(&statements(&suffix))
        .await
        .unwrap();
    let (worker, reader) = (
        format!("dialoom_{suffix}_worker"),
        format!("dialoom_{suffix}_reader"),
    );

    // The worker, as that role.
    let mut url = url::Url::parse(lab.database.url()).unwrap();
    url.set_username(&worker).unwrap();
    url.set_password(Some("...")).unwrap();
    let database = Database::parse(url.as_str()).unwrap();
    migrate::check(database.connect().await.unwrap())
        .await
        .unwrap();
    lab.settler.pool = database.pool();
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
    assert_eq!(worker::waiting::join(&lab.settler).await.unwrap(), 0);
    assert!(
        migrate::up(database.connect().await.unwrap())
            .await
            .is_err()
    );

    // The reader reads the two tables and nothing else.
    for (query, allowed) in [
        (r#"SELECT 1 FROM "Invoice""#, true),
        (r#"SELECT 1 FROM "HostOnboarding""#, true),
        (r#"DELETE FROM "Invoice""#, false),
        (r#"UPDATE "HostOnboarding" SET "canSell" = true"#, false),
        ("SELECT 1 FROM stripe.event", false),
        (r#"SELECT 1 FROM "Booking""#, false),
    ] {
        let as_reader = format!("SET ROLE {reader}; {query}; RESET ROLE");
        let done = lab.client.batch_execute(&as_reader).await;
        let _ = lab.client.batch_execute("RESET ROLE").await;
        assert_eq!(done.is_ok(), allowed, "{query}");
    }
    let drop = format!("DROP OWNED BY {worker}, {reader}; DROP ROLE {worker}, {reader}");
    lab.settler.pool = Database::parse(lab.database.url()).unwrap().pool();
    lab.client.batch_execute(&drop).await.unwrap();
}
