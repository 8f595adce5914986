//! The database roles of docs/DATABASE.md, for tests: what is under test runs
//! with exactly the rights that the document gives it.
//!
//! Roles belong to the whole server, so tests share theirs. Nobody can log in as
//! one: a connection logs in as the tests do and takes the role on.

use anyhow::{Context as _, Result};
use tokio_postgres::Client;

/// The role of the worker and of its commands.
pub const WORKER: &str = "dialoom_test_worker";
/// The role of the main app, where it only reads.
pub const READER: &str = "dialoom_test_reader";

const DOCUMENT: &str = include_str!("../../../docs/DATABASE.md");

/// Gives the roles their rights in a database that is migrated, as its owner
/// does by the document.
///
/// # Errors
/// When a statement of the document fails.
pub async fn grant(client: &Client) -> Result<()> {
    let section = DOCUMENT.split("\n## Roles").nth(1).context("no section")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    for statement in section.lines().filter_map(|line| line.strip_prefix("    ")) {
        let statement = statement
            .replace("dialoom_worker", WORKER)
            .replace("dialoom_reader", READER);
        let statement = match statement.strip_prefix("CREATE ROLE ") {
            Some(role) => make(role),
            None => statement,
        };
        if statement.contains("\"Booking\"") && !has_bookings(client).await? {
            continue;
        }
        let done = client.batch_execute(&statement).await;
        done.with_context(|| statement)?;
    }
    Ok(())
}

/// Makes a role unless another test has.
fn make(role: &str) -> String {
    let name = role.split(' ').next().unwrap_or_default();
    format!(
        "DO $$ BEGIN CREATE ROLE {} NOLOGIN; \
         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
        name.trim_end_matches(';')
    )
}

async fn has_bookings(client: &Client) -> Result<bool> {
    let query = r#"SELECT to_regclass('"Booking"') IS NOT NULL"#;
    Ok(client.query_one(query, &[]).await?.get(0))
}

/// The address, for a connection that takes on this role.
#[must_use]
pub fn url_as(url: &str, role: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}options=-c%20role%3D{role}")
}
