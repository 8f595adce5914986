//! Servers for one run of this program.

use std::path::Path;

use anyhow::Result;
use harness::servers::{Durability, Given, PostgresOptions, RabbitMqOptions, Servers};

/// Starts those servers that are not given; their data may be lost.
pub(crate) async fn servers(folder: &Path, given: Given) -> Result<Servers> {
    let postgres = PostgresOptions {
        durability: Durability::Fast,
        // Whoever forgets to say that a time is in UTC is found out by a server
        // whose own time is 5 hours and 45 minutes ahead.
        settings: vec![("timezone".to_owned(), "Asia/Kathmandu".to_owned())],
        ..PostgresOptions::default()
    };
    let rabbitmq = RabbitMqOptions {
        durability: Durability::Fast,
        ..RabbitMqOptions::default()
    };
    Servers::start(folder, given, postgres, rabbitmq).await
}
