//! The main app is in the way of the rows of its own tables: it locks them, or refuses
//! them.

use std::time::{Duration, Instant};

use anyhow::Result;
use fastrand::Rng;
use tokio_postgres::Client;

use super::{
    super::{fault::Fault, stage::Stage, story::HOT},
    database::LASTS,
};

/// The main app's tables that the worker reads or writes.
const TABLES: [&str; 3] = [r#""Invoice""#, r#""Booking""#, r#""HostOnboarding""#];
/// As long as a slow migration.
const A_MINUTE: Duration = Duration::from_secs(60);

/// Statements that put something in the way, and those that take it away again.
struct Obstacle {
    put: &'static str,
    remove: &'static str,
}

const CHECK: Obstacle = Obstacle {
    put: r#"
        ALTER TABLE "Invoice" ADD CONSTRAINT "faults" CHECK ("bookingId" % 3 > 0) NOT VALID;
        ALTER TABLE "HostOnboarding" ADD CONSTRAINT "faults"
            CHECK ("status" <> 'ENABLED') NOT VALID"#,
    remove: r#"
        ALTER TABLE "Invoice" DROP CONSTRAINT "faults";
        ALTER TABLE "HostOnboarding" DROP CONSTRAINT "faults""#,
};

const TRIGGER: Obstacle = Obstacle {
    put: r#"
        CREATE FUNCTION faults() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE 'not today'; END $$;
        CREATE TRIGGER faults BEFORE INSERT OR UPDATE ON "Invoice"
            FOR EACH ROW WHEN (NEW."bookingId" % 3 = 0) EXECUTE FUNCTION faults();
        CREATE TRIGGER faults BEFORE INSERT OR UPDATE ON "HostOnboarding"
            FOR EACH ROW WHEN (NEW."canSell") EXECUTE FUNCTION faults()"#,
    remove: "DROP FUNCTION faults CASCADE",
};

const KEY: Obstacle = Obstacle {
    put: r#"
        CREATE TABLE "Reminder" ("invoiceId" integer NOT NULL
            REFERENCES "Invoice" ("id") ON DELETE RESTRICT);
        INSERT INTO "Reminder" SELECT "id" FROM "Invoice""#,
    remove: r#"DROP TABLE "Reminder""#,
};

/// Rows that many events are about, and a third of all others. Somebody who waits for one
/// of them waits until the end.
const ROWS: &str = r#"
    SELECT FROM "Invoice" WHERE "bookingId" % 3 = 0 FOR UPDATE;
    SELECT FROM "Booking" WHERE "id" % 3 = 1 FOR UPDATE;
    SELECT FROM "HostOnboarding" WHERE left(md5("stripeAccountId"), 1) < '5' FOR UPDATE"#;

/// A row that is changed, one that is removed, and rows that the worker wants to insert.
const CHANGES: &str = r#"
    UPDATE "HostOnboarding" SET "hostId" = "hostId"
        WHERE left(md5("stripeAccountId"), 1) < '5';
    DELETE FROM "Invoice" WHERE "bookingId" % 5 = 0;
    INSERT INTO "Invoice" ("bookingId", "stripeInvoiceId", "pdfUrl", "amount", "currency", "status")
        SELECT "id", 'in_of_the_app', '', 1, 'eur', 'DRAFT' FROM "Booking" WHERE "id" % 5 = 1
        ON CONFLICT DO NOTHING"#;

pub(in super::super) async fn strike(fault: Fault, stage: &Stage, rng: &mut Rng) -> Result<()> {
    let client = stage.connect().await?;
    match fault {
        Fault::RowsLocked => {
            let rows = format!("{}; {ROWS}", lock(&HOT));
            hold(&client, &rows, LASTS).await
        }
        Fault::TablesLocked => {
            let tables = match rng.usize(..=TABLES.len()) {
                one if one < TABLES.len() => TABLES[one].to_owned(),
                _ => TABLES.join(", "),
            };
            hold(&client, &exclusive(&tables), LASTS).await
        }
        Fault::TablesLockedLong => hold(&client, &exclusive(&TABLES.join(", ")), A_MINUTE).await,
        Fault::IdleTransaction => hold(&client, CHANGES, LASTS).await,
        Fault::CheckAdded => refuse(&client, &CHECK).await,
        Fault::TriggerAdded => refuse(&client, &TRIGGER).await,
        Fault::KeyAdded => refuse(&client, &KEY).await,
        _ => deadlocks(&client, rng).await,
    }
}

/// Holds for a while what the statements lock, and undoes them.
async fn hold(client: &Client, statements: &str, lasts: Duration) -> Result<()> {
    let held = format!("BEGIN; {statements}");
    // Whoever locks many rows can be the victim of a deadlock: then nothing is held.
    if client.batch_execute(&held).await.is_ok() {
        tokio::time::sleep(lasts).await;
    }
    Ok(client.batch_execute("ROLLBACK").await?)
}

/// Puts something in the way for a while.
async fn refuse(client: &Client, obstacle: &Obstacle) -> Result<()> {
    // In one transaction, as a migration: all of it is there, or nothing.
    until_done(client, obstacle.put).await?;
    tokio::time::sleep(LASTS).await;
    until_done(client, obstacle.remove).await
}

/// Runs the statements in one transaction, and again where they were the victim of a
/// deadlock.
async fn until_done(client: &Client, statements: &str) -> Result<()> {
    const TRIES: usize = 20;
    let all = format!("BEGIN; {statements}; COMMIT");
    for _ in 1..TRIES {
        match client.batch_execute(&all).await {
            Ok(()) => return Ok(()),
            Err(_) => client.batch_execute("ROLLBACK").await?,
        }
    }
    Ok(client.batch_execute(&all).await?)
}

fn exclusive(tables: &str) -> String {
    format!("LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
}

fn lock(bookings: &[i32]) -> String {
    let bookings: Vec<String> = bookings.iter().map(i32::to_string).collect();
    let bookings = bookings.join(", ");
    format!(r#"SELECT FROM "Invoice" WHERE "bookingId" IN ({bookings}) FOR UPDATE"#)
}

/// The main app locks one of two rows and then the other, now this and now that
/// one first, as the workers write both.
async fn deadlocks(client: &Client, rng: &mut Rng) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < LASTS {
        let (first, second) = if rng.bool() {
            (HOT[0], HOT[1])
        } else {
            (HOT[1], HOT[0])
        };
        let locked = client
            .batch_execute(&format!(
                "BEGIN; {}; SELECT pg_sleep(0.1); {}; COMMIT",
                lock(&[first]),
                lock(&[second])
            ))
            .await;
        if locked.is_err() {
            // The victim may be the main app itself.
            client.batch_execute("ROLLBACK").await?;
        }
    }
    Ok(())
}
