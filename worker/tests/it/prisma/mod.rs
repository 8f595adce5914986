//! What Prisma makes of the models, and what a database holds, line by line.

pub mod misfits;

use std::collections::BTreeSet;

use harness::test_servers::TestDatabase;
use harness::tokio_postgres::Client;

/// What Prisma's own migration makes.
const MODELS: &str = include_str!("models.sql");

/// Every object of a database that is not Postgres's own, one a line, with all
/// that Prisma or a user could see of it.
const LISTING: &str = include_str!("listing.sql");

/// Prisma's statements for the models named, in its order. A statement belongs
/// to every model that it names.
pub fn statements(models: &[&str]) -> String {
    let all = ["Booking", "Invoice", "HostOnboarding"];
    let others: Vec<String> = all
        .iter()
        .filter(|model| !models.contains(model))
        .flat_map(|model| [format!("\"{model}\""), format!("\"{model}Status\"")])
        .collect();
    MODELS
        .split_inclusive(';')
        .filter(|statement| !others.iter().any(|other| statement.contains(other)))
        .collect()
}

/// All of Prisma's statements.
pub fn all() -> &'static str {
    MODELS
}

/// A database and a connection to it.
pub struct Place {
    pub database: TestDatabase,
    pub client: Client,
}

impl Place {
    /// An empty database.
    pub async fn new() -> Self {
        let database = TestDatabase::empty("tables").await.unwrap();
        let client = database.connect().await.unwrap();
        Self { database, client }
    }

    /// A database in which these statements ran first.
    pub async fn after(statements: &str) -> Self {
        let place = Self::new().await;
        place.run(statements).await;
        place
    }

    /// Runs statements.
    pub async fn run(&self, statements: &str) {
        self.client.batch_execute(statements).await.unwrap();
    }

    /// The first column of a query's rows.
    pub async fn column(&self, query: &str) -> Vec<String> {
        let rows = self.client.query(query, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// What the database holds.
    pub async fn listing(&self) -> BTreeSet<String> {
        self.column(LISTING).await.into_iter().collect()
    }

    /// Asserts that the database holds this, and tells the difference otherwise.
    pub async fn holds(&self, expected: &BTreeSet<String>) {
        let found = self.listing().await;
        let more: Vec<_> = found.difference(expected).collect();
        let less: Vec<_> = expected.difference(&found).collect();
        assert!(
            more.is_empty() && less.is_empty(),
            "more: {more:#?}\nless: {less:#?}"
        );
    }

    /// What one schema holds.
    pub async fn listing_of(&self, schema: &str) -> BTreeSet<String> {
        let prefix = format!("{schema}.");
        let mut lines = self.listing().await;
        lines.retain(|line| line.starts_with(&prefix));
        lines
    }

    /// The rows of the main app's tables that are there.
    pub async fn rows(&self) -> Vec<String> {
        let tables = "SELECT oid::regclass::text FROM pg_class \
             WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1";
        let mut rows = Vec::new();
        for table in self.column(tables).await {
            let query = format!("SELECT '{table} ' || to_jsonb(t)::text FROM {table} t ORDER BY 1");
            rows.extend(self.column(&query).await);
        }
        rows
    }
}
