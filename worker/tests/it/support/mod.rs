//! What the worker's tests share: a migrated database of their own, the worker's
//! own functions on it, and the rows that the main app would read.

pub mod attack;
pub mod claims;
pub mod consuming;
pub mod desk;
pub mod desk_queue;
pub mod dying;
pub mod histories;
pub mod invoices;
pub mod memory;
pub mod migrating;
pub mod news;
pub mod operator;
pub mod payments;
pub mod refunds;
pub mod running;
pub mod shop;
pub mod statements;
pub mod transaction_pooler;

use std::{fs, path::Path, sync::Once};

use domain::{
    event::{self as events, IgnoreReason},
    outcome::Decision,
    rules::Rules,
};
use event::Mode;
use harness::{
    leaks,
    stripe::Event,
    test_servers::{TestDatabase, roles},
};
use serde_json::Value;
use shared::{config::Env, telemetry::Telemetry};
use store::{Database, archive_page::ArchivePolicy, migrations};
use tokio_util::sync::CancellationToken;
use worker::{
    jobs::project_pending::ProjectPending,
    pipeline::{
        delivery::{Decoder, Delivery},
        executor::{BatchExecutor, Disposition},
    },
};

/// The rules of a deployment in test mode.
pub fn rules() -> Rules {
    Rules {
        mode: Mode::Test,
        booking_key: "dialoomBookingId".into(),
        client_reference: false,
        application: None,
    }
}

/// A worker without a queue, on a database of its own, with the worker's role.
/// The client has the owner's.
pub struct Lab {
    pub database: TestDatabase,
    pub client: harness::tokio_postgres::Client,
    pub executor: BatchExecutor,
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
        migrations::up(connection.unwrap()).await.unwrap();
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
            executor: BatchExecutor::new(pool, None, ArchivePolicy::Compressed),
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

    /// Takes events as one batch.
    pub async fn take(&self, events: &[Event]) -> Vec<Decision> {
        let bodies: Vec<Vec<u8>> = events.iter().map(Event::bytes).collect();
        self.take_bytes(&bodies).await
    }

    /// Takes bodies as one batch.
    pub async fn take_bytes(&self, bodies: &[Vec<u8>]) -> Vec<Decision> {
        let deliveries: Vec<Delivery> = bodies.iter().map(|body| delivery(body)).collect();
        let stop = CancellationToken::new();
        let dispositions = self.executor.execute(&deliveries, &stop).await.unwrap();
        dispositions
            .into_iter()
            .map(|disposition| match disposition {
                Disposition::Ack(decision) => decision,
                other @ Disposition::Requeue => panic!("{other:?}"),
            })
            .collect()
    }

    /// Tries every row that is pending, as though its pause were over, and every invoice and
    /// session that waits. Gives back how many objects waited.
    pub async fn project_pending(&self) -> usize {
        let due = "UPDATE stripe.pending_projection SET next_try_at = now()";
        self.client.batch_execute(due).await.unwrap();
        let mut job = ProjectPending::new(self.executor.clone());
        let stop = CancellationToken::new();
        job.write_pending(&stop).await.unwrap();
        job.poll_all().await.unwrap()
    }

    /// The rows that are pending: kind, id, reason, tries.
    pub async fn pending(&self) -> Vec<String> {
        self.rows(
            "SELECT concat_ws(' ', kind, id, reason, tries) FROM stripe.pending_projection \
             ORDER BY kind, id",
        )
        .await
    }

    /// Takes one event.
    pub async fn take_one(&self, event: &Event) -> Decision {
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

    /// What was refunded and credited of each invoice.
    pub async fn given_back(&self) -> Vec<String> {
        self.rows(
            "SELECT concat_ws(' ', id, amount_refunded, amount_credited) FROM stripe.invoice ORDER BY id",
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

    /// Each invoice that waits, and for what.
    pub async fn waiting(&self) -> Vec<String> {
        self.rows(
            "SELECT id || ' ' || waiting FROM stripe.invoice WHERE waiting IS NOT NULL ORDER BY 1",
        )
        .await
    }

    /// Everything that must not depend on the order of events.
    pub async fn state(&self) -> Vec<String> {
        let mut rows = self.invoices().await;
        rows.extend(self.hosts().await);
        let tables = [
            "invoice",
            "checkout_session",
            "booking_claim",
            "account",
            "charge",
            "credit_note",
        ];
        for table in tables {
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
                   stripe.account_transition, stripe.dead_letter, stripe.event_archive,
                   stripe.charge, stripe.credit_note"#,
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
        migrations::up(connection).await?;
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

/// A delivery of these bytes, decoded.
pub fn delivery(body: &[u8]) -> Delivery {
    let (exchange, key) = ("stripe.events".into(), "invoice.paid".into());
    let message = lapin::message::Delivery::mock(1, exchange, key, false, body.to_vec());
    decoder().delivery(message).unwrap()
}

/// How the worker of a deployment in test mode decodes.
pub fn decoder() -> Decoder {
    Decoder {
        rules: rules(),
        decode: events::decode,
    }
}

/// The decision about an event that changed something.
pub const APPLIED: Decision = Decision::Applied;
/// The decision about an event that said nothing new.
pub const STALE: Decision = Decision::Stale;
/// The decision about an event of the other mode.
pub const OTHER_MODE: Decision = Decision::Ignored(IgnoreReason::OtherMode);
/// The decision about an event whose type is not handled.
pub const UNHANDLED: Decision = Decision::Ignored(IgnoreReason::UnhandledType);

/// The reason code of a dead event.
pub fn dead_code(decision: &Decision) -> &'static str {
    match decision {
        Decision::Dead(why) => why.code(),
        other => panic!("not dead: {other:?}"),
    }
}

/// Removes a field of a JSON object.
pub fn without(mut value: Value, field: &str) -> Value {
    value.as_object_mut().unwrap().remove(field);
    value
}
