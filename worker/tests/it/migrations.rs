//! Migrations that run again, run many at once and are undone. And the command
//! `worker migrate`, which says in a line what it did, or why it could not.

use std::{process::Command, time::Duration};

use crate::prisma::{self, Place};
use crate::support::migrating::{BOOKING, ROWS, count, database, down, up};
use harness::{
    private::PrivateFolder,
    tokio_postgres::Client,
    wait::{self, Seen},
};
use store::migrations;

/// Runs the next migration.
async fn one_up(url: &str) -> Option<String> {
    let connection = database(url).connect().await.unwrap();
    migrations::run_next(connection).await.unwrap()
}

/// Undoes the last migration.
async fn one_down(url: &str) -> Option<String> {
    let connection = database(url).connect().await.unwrap();
    migrations::undo_last(connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_twice_or_many_at_once_is_harmless() {
    let place = Place::after(&prisma::statements(BOOKING)).await;
    let url = place.database.url().to_owned();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { up(&url).await })
        })
        .collect();
    let mut ran = Vec::new();
    for task in tasks {
        ran.push(task.await.unwrap().unwrap().len());
    }
    ran.sort_unstable();
    assert_eq!(ran, [0, 0, 0, count()], "one of them did it all");

    let (listing, rows) = (place.listing().await, place.rows().await);
    assert_eq!(up(&url).await, Ok(Vec::new()));
    place.holds(&listing).await;
    assert_eq!(place.rows().await, rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_way_back_the_database_is_as_before() {
    let all = count();
    for first in [String::new(), prisma::statements(BOOKING)] {
        let place = Place::after(&first).await;
        let url = place.database.url();
        let before = place.listing().await;
        assert_eq!(down(url).await, Ok(Vec::new()), "nothing to undo");
        place.holds(&before).await;

        up(url).await.unwrap();
        let whole = place.listing().await;
        assert!(whole.is_superset(&before));
        assert_eq!(down(url).await.unwrap().len(), all);
        place.holds(&before).await;
        up(url).await.unwrap();
        place.holds(&whole).await;

        down(url).await.unwrap();
        place.holds(&before).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_migration_alone_can_be_undone_and_run_again() {
    let place = Place::after(&prisma::statements(BOOKING)).await;
    let url = place.database.url();
    let mut steps = Vec::new();
    for _ in 0..count() {
        // The list of migrations is there once one has run.
        let before = (!steps.is_empty()).then_some(place.listing().await);
        let name = one_up(url).await.unwrap();
        let after = place.listing().await;
        assert_eq!(one_down(url).await, Some(name.clone()));
        if let Some(before) = &before {
            place.holds(before).await;
        }
        assert_eq!(one_up(url).await, Some(name.clone()));
        place.holds(&after).await;
        steps.push((name, after));
    }
    assert_eq!(one_up(url).await, None);
    assert_eq!(up(url).await, Ok(Vec::new()), "those are all");
    while let Some((name, after)) = steps.pop() {
        place.holds(&after).await;
        assert_eq!(one_down(url).await, Some(name));
    }
    assert_eq!(one_down(url).await, None);
    let tables = "SELECT relname::text FROM pg_class \
         WHERE relnamespace = 'stripe'::regnamespace AND relkind = 'r'";
    assert_eq!(place.column(tables).await, ["__diesel_schema_migrations"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_takes_nothing_that_is_not_ours() {
    let place = Place::new().await;
    let url = place.database.url();

    // Somebody else's table in our schema.
    place
        .run("CREATE SCHEMA stripe; CREATE TABLE stripe.report (id integer)")
        .await;
    let before = place.listing().await;
    up(url).await.unwrap();
    down(url).await.unwrap();
    place.holds(&before).await;

    // A view over one of our tables holds that migration, whole.
    up(url).await.unwrap();
    place
        .run("CREATE VIEW paid AS SELECT id FROM stripe.invoice WHERE status = 'paid'")
        .await;
    let refused = down(url).await.unwrap_err();
    assert!(
        refused.contains("stripe.invoice") || refused.contains("table invoice"),
        "{refused}"
    );
    let listing = place.listing().await;
    assert!(listing.contains("stripe.event: relation r"));
    place.run("DROP VIEW paid").await;
    down(url).await.unwrap();
    place.holds(&before).await;

    // The app made its own in the place of ours, as `prisma migrate reset` does.
    up(url).await.unwrap();
    place
        .run("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        .await;
    place.run(prisma::all()).await;
    place.run(ROWS).await;
    let (apps, rows) = (place.listing_of("public").await, place.rows().await);
    up(url).await.unwrap();
    down(url).await.unwrap();
    assert_eq!(place.listing_of("public").await, apps);
    assert_eq!(place.rows().await, rows);
}

/// The exit code of `worker migrate`, and what it said.
fn migrate(arguments: &[&str], database_url: Option<&str>) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
    command.env_clear().arg("migrate").args(arguments);
    if let Some(url) = database_url {
        command.env("DATABASE_URL", url);
    }
    let output = command.output().unwrap();
    assert_eq!(output.stdout, b"");
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_makes_the_tables_undoes_them_and_says_so() {
    let place = Place::new().await;
    let before = place.listing().await;
    let (code, said) = migrate(&[], Some(place.database.url()));
    assert_eq!(code, Some(0), "{said}");
    let all = count();
    assert_eq!(said.lines().count(), all + 1, "{said}");
    assert!(said.contains(&format!("{all} migrations run")), "{said}");
    assert!(place.listing().await.contains("public.Invoice: relation r"));
    let (code, said) = migrate(&[], Some(place.database.url()));
    assert_eq!((code, said.lines().count()), (Some(0), 1), "{said}");

    let (code, said) = migrate(&["--down"], Some(place.database.url()));
    assert_eq!(code, Some(0), "{said}");
    place.holds(&before).await;

    place
        .run(r#"CREATE TABLE "HostOnboarding" ("stripeAccountId" text PRIMARY KEY)"#)
        .await;
    let (code, said) = migrate(&[], Some(place.database.url()));
    assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
    assert!(
        said.contains("the table \"HostOnboarding\" does not fit"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_is_said_in_a_line_without_the_password() {
    const PASSWORD: &str = "correct-horse";
    let place = Place::new().await;
    let mut wrong = url::Url::parse(place.database.url()).unwrap();
    wrong.set_username("nobody_of_that_name").unwrap();
    wrong.set_password(Some(PASSWORD)).unwrap();
    let mut nowhere = wrong.clone();
    nowhere.set_port(Some(1)).unwrap();
    let mut no_database = url::Url::parse(place.database.url()).unwrap();
    let own = no_database.password().map(str::to_owned);
    no_database.set_path("no_such_database");
    for (url, reason) in [
        (wrong, "nobody_of_that_name"),
        (nowhere, "refused"),
        (no_database, "no_such_database"),
    ] {
        let (code, said) = migrate(&[], Some(url.as_str()));
        assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
        assert!(said.contains("the database cannot be reached"), "{said}");
        assert!(said.contains(reason), "{said}");
        assert!(!said.contains(PASSWORD), "{said}");
        assert!(
            !own.as_deref().is_some_and(|own| said.contains(own)),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_missing_or_wrong_url_exits_64_and_names_the_variable() {
    for (url, held) in [
        (None, "nothing"),
        (Some(""), "nothing"),
        (
            Some("mysql://app:correct-horse@h/db"),
            "a secret of 30 characters",
        ),
        (
            Some("postgres://app:correct-horse@h/db?colour=blue"),
            "a secret of 45 characters",
        ),
    ] {
        let (code, said) = migrate(&[], url);
        assert_eq!((code, said.lines().count()), (Some(64), 1), "{said}");
        assert!(
            said.starts_with(&format!("DATABASE_URL holds {held}; expected")),
            "{said}"
        );
        assert!(!said.contains("correct-horse"), "{said}");
    }
}

/// A session that holds a table, and its process id.
async fn holding(place: &Place, table: &str, mode: &str) -> (Client, i32) {
    let app = place.database.connect().await.unwrap();
    let lock = format!("BEGIN; LOCK TABLE {table} IN {mode} MODE");
    app.batch_execute(&lock).await.unwrap();
    let pid = app.query_one("SELECT pg_backend_pid()", &[]).await.unwrap();
    (app, pid.get(0))
}

/// The main app waits behind a migration that waits, so a migration waits for a bounded time.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_gives_way_to_the_apps_lock_and_names_who_holds_it() {
    let place = Place::after(&prisma::statements(BOOKING)).await;
    let url = place.database.url();
    // The foreign key of "Invoice" locks "Booking" against writes.
    let (app, pid) = holding(&place, r#""Booking""#, "ROW EXCLUSIVE").await;
    let refused = up(url).await.unwrap_err();
    let said = format!(
        r#"waited 5 s for a table that others have locked; public."Booking" by {pid} (RowExclusiveLock)"#
    );
    assert!(refused.contains(&said), "{refused}");
    // Nobody waits behind it any more, and nothing of it is left.
    place
        .run(r#"SET lock_timeout = '2s'; INSERT INTO "Booking" DEFAULT VALUES"#)
        .await;
    assert!(!place.listing().await.contains("public.Invoice: relation r"));
    app.batch_execute("COMMIT").await.unwrap();
    assert_eq!(
        up(url).await.unwrap().len(),
        count() - 1,
        "the first had run"
    );

    let (_app, pid) = holding(&place, r#""Invoice""#, "ACCESS SHARE").await;
    let refused = down(url).await.unwrap_err();
    let said = format!(r#"public."Invoice" by {pid} (AccessShareLock)"#);
    assert!(refused.contains(&said), "{refused}");
    assert!(place.listing().await.contains("public.Invoice: relation r"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_tries_again_until_the_app_lets_go() {
    let place = Place::new().await;
    let url = place.database.url().to_owned();
    up(&url).await.unwrap();
    let (app, _) = holding(&place, r#""Invoice""#, "ACCESS SHARE").await;
    let folder = PrivateFolder::make("locked").unwrap();
    let log = folder.path().join("log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
    command.env_clear().args(["migrate", "--down"]);
    command.env("DATABASE_URL", &url);
    let mut child = command
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let bound = Duration::from_secs(30);
    wait::until(
        "a try that gave way",
        bound,
        async || match std::fs::read_to_string(&log).unwrap() {
            said if said.contains(r#"public."Invoice" by"#) => Seen::Reached(()),
            said => Seen::NotYet(said),
        },
    )
    .await
    .unwrap();
    app.batch_execute("COMMIT").await.unwrap();
    let code = wait::until("the end", bound, async || match child.try_wait().unwrap() {
        Some(status) => Seen::Reached(status.code()),
        None => Seen::NotYet("it runs".into()),
    });
    assert_eq!(code.await.unwrap(), Some(0));
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(
        said.contains(&format!("{} migrations undone", count())),
        "{said}"
    );
}
