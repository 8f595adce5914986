//! Tables that do not fit, and databases that a worker may not begin with.

use store::migrations;

use super::{EARLIER_MODEL, check};
use crate::{
    prisma::{self, Place, misfits::MISFITS},
    support::migrating::{BOOKING, database, down, up},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_migration_added_and_is_gone_since_is_refused() {
    let place = Place::after(prisma::all()).await;
    let url = place.database.url();
    up(url).await.unwrap();
    place.run(EARLIER_MODEL).await;
    let expected = "the table \"HostOnboarding\" does not fit the model in docs/MAIN_APP.md: \
                    enum \"HostOnboardingStatus\" lacks UNKNOWN; \
                    column \"futureDue\" (text[]) is missing";
    assert_eq!(up(url).await, Err(expected.to_owned()));
    assert_eq!(check(url).await, Err(expected.to_owned()));

    // Where it was not added yet, a worker that may not migrate asks for the migration.
    down(url).await.unwrap();
    for _ in 0..6 {
        let connection = database(url).connect().await.unwrap();
        assert!(migrations::run_next(connection).await.unwrap().is_some());
    }
    let refused = check(url).await.unwrap_err();
    assert!(refused.contains("000007"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_does_not_fit_is_refused_by_name_and_difference_before_anything_is_written() {
    let place = Place::new().await;
    for (change, table, difference) in MISFITS {
        place
            .run("DROP SCHEMA IF EXISTS other CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            .await;
        place.run(prisma::all()).await;
        place.run(change).await;
        let before = place.listing().await;
        let expected =
            format!("the table {table} does not fit the model in docs/MAIN_APP.md: {difference}");
        let refused = up(place.database.url()).await.unwrap_err();
        assert_eq!(refused, expected, "{change}");
        assert_eq!(refused.lines().count(), 1);
        place.holds(&before).await;
        // A worker that may not migrate looks as closely, where the table is there.
        if !change.contains(r#"DROP TABLE "Invoice""#) {
            assert_eq!(check(place.database.url()).await, Err(expected), "{change}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_changed_since_is_refused_at_the_next_start() {
    let place = Place::after(&prisma::statements(BOOKING)).await;
    let url = place.database.url();
    up(url).await.unwrap();
    assert_eq!(check(url).await, Ok(()));
    let whole = place.listing().await;

    place
        .run(r#"ALTER TABLE "Invoice" DROP COLUMN "amount""#)
        .await;
    for refused in [up(url).await.unwrap_err(), check(url).await.unwrap_err()] {
        assert!(refused.contains("column \"amount\" (numeric(65,30)) is missing"));
    }
    place.run(r#"DROP TABLE "Invoice""#).await;
    for refused in [up(url).await.unwrap_err(), check(url).await.unwrap_err()] {
        assert_eq!(
            refused,
            "the table \"Invoice\" does not fit the model in docs/MAIN_APP.md: \
             there is no such table (was it migrated, or dropped since?)"
        );
    }
    // The way out that needs no care: all of it anew.
    down(url).await.unwrap();
    up(url).await.unwrap();
    place.holds(&whole).await;
    assert_eq!(check(url).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_never_migrated_is_refused_by_a_worker_that_may_not() {
    let place = Place::new().await;
    let refused = check(place.database.url()).await.unwrap_err();
    assert!(refused.contains("\"Invoice\"") && refused.contains("was it migrated"));
    up(place.database.url()).await.unwrap();
    assert_eq!(check(place.database.url()).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_cannot_be_the_main_apps_is_refused_by_name() {
    let place = Place::new().await;
    let before = place.listing().await;
    let missing = up(&format!("{}?schema=shop", place.database.url()))
        .await
        .unwrap_err();
    assert_eq!(
        missing,
        "there is no schema for the main app's tables: none in the search path (shop) exists \
         or may be used; make it, or name another with ?schema= in DATABASE_URL"
    );
    place.holds(&before).await;

    place.run("CREATE SCHEMA stripe").await;
    let own = up(&format!("{}?schema=stripe", place.database.url()))
        .await
        .unwrap_err();
    assert!(own.starts_with("the schema stripe is the worker's own"));
    assert_eq!(place.listing_of("stripe").await.len(), 2);
}

/// A newer release beside the tables of an older one would fail with each event.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_did_not_run_is_named_where_none_may_be_run() {
    let place = Place::after(&prisma::statements(BOOKING)).await;
    let url = place.database.url();
    up(url).await.unwrap();
    let last = "2026-11-25-000005_claims_in_the_ledger";
    let forget = "DELETE FROM stripe.__diesel_schema_migrations WHERE version >= '20261125000005'";
    place.run(forget).await;
    let refused = check(url).await.unwrap_err();
    assert!(
        refused.contains(&format!("the migration {last} has not run")),
        "{refused}"
    );
}
