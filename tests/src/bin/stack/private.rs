//! Folders that belong to one run of this program and go with it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use harness::{
    checkout,
    process::Identity,
    random,
    servers::{self, Durability, Given, PostgresOptions, RabbitMqOptions, Servers},
};

/// How the names of such folders below `.dev` begin.
const PREFIX: &str = "private-";
/// File in such a folder that tells which process made it.
const OWNER: &str = "owner.json";

/// Makes a folder for this run, and clears away what runs that were killed have
/// left: their servers are stopped, their data is removed.
pub(crate) fn folder() -> Result<PathBuf> {
    let dev = checkout::dev_folder()?;
    for entry in fs::read_dir(&dev)? {
        let path = entry?.path();
        let ours = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(PREFIX));
        if ours && !has_owner(&path) {
            eprintln!(
                "stack: clearing away what an earlier run left in {}",
                path.display()
            );
            servers::wipe(&path)?;
        }
    }
    let pid = i32::try_from(std::process::id())?;
    let owner = Identity::of(pid, "").context("this process is not in /proc")?;
    // Not seen by another run before it says whose it is.
    let draft = dev.join(format!("draft-{}", random::hex(4)));
    checkout::make_folder(&draft)?;
    owner.write(&draft.join(OWNER))?;
    let folder = dev.join(format!("{PREFIX}{}", random::hex(4)));
    fs::rename(&draft, &folder)?;
    Ok(folder)
}

fn has_owner(folder: &Path) -> bool {
    Identity::read(&folder.join(OWNER)).is_some_and(|owner| owner.is_alive())
}

/// Starts those servers that are not given; their data may be lost.
pub(crate) async fn servers(folder: &Path, given: Given) -> Result<Servers> {
    let postgres = PostgresOptions {
        durability: Durability::Fast,
        // Whoever forgets to say that a time is in UTC is found out by a server
        // whose own time is 5 hours and 45 minutes ahead.
        settings: vec![("timezone".to_owned(), "Asia/Kathmandu".to_owned())],
    };
    let rabbitmq = RabbitMqOptions {
        durability: Durability::Fast,
        ..RabbitMqOptions::default()
    };
    Servers::start(folder, given, postgres, rabbitmq).await
}
