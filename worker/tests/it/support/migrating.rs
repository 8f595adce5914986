//! Migrations as the worker runs and undoes them, and what the main app may have
//! made before.

use std::{fs, path::Path};

use harness::test_servers::TestDatabase;
use store::{Database, migrations};

/// The one model of the main app that is not ours to make.
pub const BOOKING: &[&str] = &["Booking"];

/// Rows of the main app.
pub const ROWS: &str = r#"
    INSERT INTO "Booking" SELECT FROM generate_series(1, 2);
    INSERT INTO "Invoice" ("bookingId", "stripeInvoiceId", "pdfUrl", "amount", "currency", "status")
        VALUES (2, 'in_app', '', 12.34, 'eur', 'SENT');
    INSERT INTO "HostOnboarding" ("stripeAccountId", "status", "canSell", "chargesEnabled",
        "payoutsEnabled", "detailsSubmitted", "lastEventAt", "updatedAt")
        VALUES ('acct_app', 'PAUSED', false, false, true, true, now(), now());
"#;

pub fn database(url: &str) -> Database {
    Database::parse(url).unwrap()
}

/// The names of the migrations that ran, or the line that says why not.
pub async fn up(url: &str) -> Result<Vec<String>, String> {
    let connection = database(url).connect().await.unwrap();
    let done = migrations::up(connection).await;
    done.map_err(|error| shared::telemetry::report(&error))
}

/// The same for the migrations that were undone.
pub async fn down(url: &str) -> Result<Vec<String>, String> {
    let connection = database(url).connect().await.unwrap();
    let done = migrations::down(connection).await;
    done.map_err(|error| shared::telemetry::report(&error))
}

/// How many migrations there are. A worker built before the newest one has fewer.
pub fn count() -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    fs::read_dir(folder).unwrap().count()
}

/// Runs the first migrations.
pub async fn run(test: &TestDatabase, migrations: usize) {
    for _ in 0..migrations {
        let connection = database(test.url()).connect().await.unwrap();
        assert!(migrations::run_next(connection).await.unwrap().is_some());
    }
}
