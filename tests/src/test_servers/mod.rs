//! A database and a broker prefix of its own for every test, on servers that all
//! tests share.
//!
//! The servers come in by `DATABASE_URL` and `AMQP_URL`: `make test` sets both.

mod broker;
mod database;
pub mod roles;
mod template;

use std::sync::atomic::{AtomicU32, Ordering};

pub use self::{broker::TestBroker, database::TestDatabase};
use crate::{random, servers::Given};

/// Address of the database server that tests use.
///
/// # Panics
/// When `DATABASE_URL` is not set; the message says how to get one.
#[must_use]
pub fn database_url() -> String {
    Given::from_env()
        .database_url
        .unwrap_or_else(|| panic!("{}", not_set("DATABASE_URL")))
}

/// Address of the broker that tests use.
///
/// # Panics
/// When `AMQP_URL` is not set; the message says how to get one.
#[must_use]
pub fn amqp_url() -> String {
    Given::from_env()
        .amqp_url
        .unwrap_or_else(|| panic!("{}", not_set("AMQP_URL")))
}

fn not_set(name: &str) -> String {
    format!("{name} is not set: run `make test`, or `make up` and then `. .dev/env`")
}

/// A prefix for `AMQP_PREFIX` that nobody else uses.
#[must_use]
pub fn unique_prefix(label: &str) -> String {
    format!("t-{}.", unique(label, '-'))
}

/// A name that nobody else uses, of lowercase letters, digits and `separator`
/// only, and of 40 bytes at most.
fn unique(label: &str, separator: char) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let clean = |letter: char| {
        let letter = letter.to_ascii_lowercase();
        if letter.is_ascii_lowercase() || letter.is_ascii_digit() {
            letter
        } else {
            separator
        }
    };
    let label: String = label.chars().take(20).map(clean).collect();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{label}{separator}{count}{separator}{}", random::hex(4))
}

/// Runs the clean-up of a value that is dropped to its end, whether or not the
/// dropping thread belongs to a runtime; says so when it fails.
fn clean_up(what: &str, work: impl Future<Output = anyhow::Result<()>> + Send) {
    use std::time::Duration;
    /// A server that hangs must not hang the test's end.
    const BOUND: Duration = Duration::from_secs(15);

    let result = std::thread::scope(|scope| {
        let work = async { tokio::time::timeout(BOUND, work).await? };
        let thread = scope.spawn(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(work)
        });
        thread
            .join()
            .unwrap_or_else(|_| anyhow::bail!("it panicked"))
    });
    if let Err(error) = result {
        eprintln!("cannot clean up {what}: {error:#}");
    }
}
