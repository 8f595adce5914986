//! What a stage is set with, and what is kept of it.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::Path,
};

use anyhow::{Context as _, Result};
use tokio_postgres::Client;
use url::Url;

use super::super::disk::SmallDisk;
use crate::servers::{Postgres, RabbitMq, RabbitMqOptions, postgres};

/// Two more nodes, members of the cluster of this one.
pub(super) async fn join(first: &RabbitMq, folder: &Path) -> Result<[RabbitMq; 2]> {
    let start = async |name: &str| {
        let options = RabbitMqOptions {
            name: name.to_owned(),
            cluster: Some(first.cluster()),
            ..RabbitMqOptions::default()
        };
        RabbitMq::start(&folder.join(format!("rabbitmq-{name}")), options).await
    };
    let (mut second, mut third) = tokio::try_join!(start("second"), start("third"))?;
    second.join(first).await?;
    third.join(first).await?;
    Ok([second, third])
}

/// Puts the database on a file system of its own.
pub(super) async fn move_to_small_disk(database: &Postgres) -> Result<SmallDisk> {
    let disk = SmallDisk::mount()?;
    let url = Url::parse(&database.url())?;
    let name = url.path().trim_start_matches('/').to_owned();
    let mut maintenance = url;
    maintenance.set_path("postgres");
    let client = postgres::connect(maintenance.as_str()).await?;
    let place = disk.path().join("tables");
    fs::create_dir(&place)?;
    // The server makes it its own, which only its owner may.
    let pid = database.pid().context("PostgreSQL runs")?;
    let server = fs::metadata(format!("/proc/{pid}"))?;
    chown(&place, Some(server.uid()), Some(server.gid()))?;
    let make = format!("CREATE TABLESPACE small LOCATION '{}'", place.display());
    client
        .batch_execute(&make)
        .await
        .context("CREATE TABLESPACE")?;
    let moved = format!("ALTER DATABASE {name} SET TABLESPACE small");
    client
        .batch_execute(&moved)
        .await
        .context("SET TABLESPACE")?;
    Ok(disk)
}

/// The main app's table. One booking in ten is made only while events flow.
pub(super) async fn make_bookings(client: &Client, count: i32) -> Result<()> {
    client
        .batch_execute(&format!(
            r#"CREATE TABLE "Booking" ("id" SERIAL PRIMARY KEY);
               INSERT INTO "Booking" SELECT id FROM generate_series(1, {count}) id WHERE id % 10 <> 0"#
        ))
        .await
        .context("the main app's bookings")
}

/// Makes the bookings that were left out.
///
/// # Errors
/// When the database is away.
pub(in super::super) async fn make_late_bookings(client: &Client, count: i32) -> Result<()> {
    client
        .batch_execute(&format!(
            r#"INSERT INTO "Booking" SELECT id FROM generate_series(1, {count}) id ON CONFLICT DO NOTHING"#
        ))
        .await
        .context("the main app's late bookings")
}

/// Copies all files that end in `.log`, wherever they lie.
pub(super) fn copy_logs(folder: &Path, prefix: &str, to: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let flat = format!("{prefix}{name}");
        if path.is_dir() && name != "data" && name != "area" {
            copy_logs(&path, &format!("{flat}-"), to)?;
        } else if name.ends_with(".log") {
            fs::copy(&path, to.join(flat))?;
        }
    }
    Ok(())
}
