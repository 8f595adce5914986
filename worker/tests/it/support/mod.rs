//! What the worker's tests share: a migrated database of their own, the worker's
//! own functions on it, and the rows that the main app would read.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses a part of it"
)]

pub mod claims;
pub mod consuming;
pub mod histories;
pub mod invoices;
pub mod memory;
pub mod migrating;
pub mod operator;
pub mod payments;
pub mod running;

use std::{fs, path::Path, sync::Once};

use event::Mode;
use harness::{
    leaks,
    stripe::Event,
    test_servers::{TestDatabase, roles},
};
use serde_json::Value;
use shared::{config::Env, telemetry::Telemetry};
use tokio_util::sync::CancellationToken;
use worker::{
    events::{
        self, Rules,
        verdict::{Outcome, Verdict},
    },
    keep::Keep,
    process::Item,
    settle::{Settlement, Settler},
    store::{connect::Database, migrate},
};

/// The rules of a deployment in test mode.
pub fn rules() -> Rules {
    Rules {
        mode: Mode::Test,
        booking_key: "bookingId".into(),
    }
}

/// A worker without a queue, on a database of its own, with the worker's role.
/// The client has the owner's.
pub struct Lab {
    pub database: TestDatabase,
    pub client: tokio_postgres::Client,
    pub settler: Settler,
    worker_url: String,
}

impl Lab {
    /// A migrated database without bookings of the main app.
    pub async fn new() -> Self {
        Self::on(migrated().await).await
    }

    /// A database in which the main app's `"Booking"` came first, with these
    /// bookings.
    pub async fn with_bookings(bookings: &[i32]) -> Self {
        let database = TestDatabase::empty("bookings").await.unwrap();
        let client = database.connect().await.unwrap();
        client
            .batch_execute(r#"CREATE TABLE "Booking" ("id" SERIAL NOT NULL, CONSTRAINT "Booking_pkey" PRIMARY KEY ("id"))"#)
            .await
            .unwrap();
        let connection = Database::parse(database.url()).unwrap().connect().await;
        migrate::up(connection.unwrap()).await.unwrap();
        let lab = Self::on(database).await;
        for booking in bookings {
            lab.book(*booking).await;
        }
        lab
    }

    /// A worker on a database that is there already.
    pub async fn on(database: TestDatabase) -> Self {
        let client = database.connect().await.unwrap();
        roles::grant(&client).await.unwrap();
        let worker_url = roles::url_as(database.url(), roles::WORKER);
        Self::with_url(database, worker_url).await
    }

    /// A worker that reaches its database by this URL.
    pub async fn with_url(database: TestDatabase, worker_url: String) -> Self {
        watch_logs();
        let pool = Database::parse(&worker_url).unwrap().pool();
        Self {
            client: database.connect().await.unwrap(),
            database,
            settler: Settler::new(pool, None, Keep::Compressed),
            worker_url,
        }
    }

    /// Gives the worker's role its rights once more, also in a table of bookings
    /// that came later.
    pub async fn grant(&self) {
        roles::grant(&self.client).await.unwrap();
    }

    /// The database's address for a worker or a command of it.
    pub fn worker_url(&self) -> &str {
        &self.worker_url
    }

    /// The main app makes a booking.
    pub async fn book(&self, id: i32) {
        self.client
            .execute(r#"INSERT INTO "Booking" ("id") VALUES ($1)"#, &[&id])
            .await
            .unwrap();
    }

    /// Takes events as one unit.
    pub async fn take(&self, events: &[Event]) -> Vec<Verdict> {
        let bodies: Vec<Vec<u8>> = events.iter().map(Event::bytes).collect();
        self.take_bytes(&bodies).await
    }

    /// Takes bodies as one unit.
    pub async fn take_bytes(&self, bodies: &[Vec<u8>]) -> Vec<Verdict> {
        let items: Vec<Item> = bodies.iter().map(|body| item(body)).collect();
        let stop = CancellationToken::new();
        let settled = self.settler.settle(&items, &stop).await.unwrap();
        settled
            .into_iter()
            .map(|settlement| match settlement {
                Settlement::Verdict(verdict) => verdict,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// Takes one event.
    pub async fn take_one(&self, event: &Event) -> Verdict {
        self.take(std::slice::from_ref(event)).await.remove(0)
    }

    /// The rows of `"Invoice"` as text, by booking.
    pub async fn invoices(&self) -> Vec<String> {
        self.rows(
            r#"SELECT concat_ws(' ', "bookingId", "stripeInvoiceId", "status",
                trim_scale("amount"), "currency", coalesce(nullif("pdfUrl", ''), '-'),
                extract(epoch FROM "createdAt")::bigint) FROM "Invoice" ORDER BY "bookingId""#,
        )
        .await
    }

    /// The rows of `"HostOnboarding"` as text, by account, without our own
    /// times.
    pub async fn hosts(&self) -> Vec<String> {
        self.rows(
            r#"SELECT (to_jsonb(h) - 'updatedAt')::text FROM "HostOnboarding" h
               ORDER BY "stripeAccountId""#,
        )
        .await
    }

    /// Everything that must not depend on the order of events.
    pub async fn state(&self) -> Vec<String> {
        let mut rows = self.invoices().await;
        rows.extend(self.hosts().await);
        for table in ["invoice", "checkout_session", "booking_claim", "account"] {
            rows.extend(
                self.rows(&format!(
                    "SELECT '{table} ' || (to_jsonb(t) - 'updated_at')::text FROM stripe.{table} t ORDER BY 1"
                ))
                .await,
            );
        }
        rows.extend(
            self.rows("SELECT to_jsonb(t)::text FROM stripe.account_transition t ORDER BY 1")
                .await,
        );
        // What came late is stale in one order and applied in another.
        rows.extend(
            self.rows(
                "SELECT concat_ws(' ', id, CASE outcome WHEN 'stale' THEN 'applied' ELSE outcome END, reason) \
                 FROM stripe.event ORDER BY 1",
            )
            .await,
        );
        rows
    }

    /// The first column of a query's rows.
    pub async fn rows(&self, query: &str) -> Vec<String> {
        let rows = self.client.query(query, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The ledger's row of an event: outcome, reason, attempts.
    pub async fn ledger(&self, event: &str) -> Option<(String, Option<String>, i32)> {
        let query = "SELECT outcome, reason, attempts FROM stripe.event WHERE id = $1";
        let row = self.client.query_opt(query, &[&event]).await.unwrap()?;
        Some((row.get(0), row.get(1), row.get(2)))
    }

    /// Empties every table.
    pub async fn wipe(&self) {
        self.client
            .batch_execute(
                r#"TRUNCATE "Invoice", "HostOnboarding", stripe.event, stripe.invoice,
                   stripe.checkout_session, stripe.booking_claim, stripe.account,
                   stripe.account_transition, stripe.dead_letter, stripe.kept_page"#,
            )
            .await
            .unwrap();
    }
}

/// Looks through all that would be logged in this process.
pub fn watch_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let telemetry = Telemetry::from_env(&Env::from_pairs([("RUST_LOG", "trace")]));
        let subscriber = telemetry.unwrap().subscriber(|| leaks::Watch);
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

/// A copy of a migrated database.
pub async fn migrated() -> TestDatabase {
    TestDatabase::from_template(&template_key(), async |url| {
        let connection = Database::parse(url)?.connect().await?;
        migrate::up(connection).await?;
        Ok(())
    })
    .await
    .unwrap()
}

/// Changes with the migrations, so that an old template is never used.
fn template_key() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("up.sql"))
        .collect();
    files.sort();
    let text: Vec<String> = files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    format!("worker-{}", text.concat())
}

/// A delivery of these bytes, read.
pub fn item(body: &[u8]) -> Item {
    Item {
        reading: events::read(body, &rules()),
        received_at: None,
        trace_id: None,
        ticket: None,
        body: body.to_vec(),
    }
}

/// The verdict of an event that changed something.
pub const APPLIED: Verdict = Verdict::Settled(Outcome::Applied);
/// The verdict of an event that said nothing new.
pub const STALE: Verdict = Verdict::Settled(Outcome::Stale);
/// The verdict of an event whose invoice cannot be shown yet.
pub const WAITING: Verdict = Verdict::Settled(Outcome::Waiting);
/// The verdict of an event that is not for us.
pub const IGNORED: Verdict = Verdict::Settled(Outcome::Ignored);

/// The reason code of a dead event.
pub fn dead_code(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Dead(why) => why.code(),
        other => panic!("not dead: {other:?}"),
    }
}

/// Removes a field of a JSON object.
pub fn without(mut value: Value, field: &str) -> Value {
    value.as_object_mut().unwrap().remove(field);
    value
}
