//! What `stack up` remembers from one run to the next, all below `.dev/up`.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use harness::{
    checkout, ports,
    process::Identity,
    random,
    servers::{Given, postgres, rabbitmq},
};
use serde::{Deserialize, Serialize};

/// Ports and secrets, which stay the same however often it is started.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Settings {
    pub(crate) ingest_port: u16,
    pub(crate) ingest_admin_port: u16,
    pub(crate) worker_admin_port: u16,
    /// The endpoint's secret, where `STRIPE_WEBHOOK_SECRETS` gives none.
    pub(crate) secret: String,
    /// A hash of what each running service was started with.
    #[serde(default)]
    pub(crate) started_with: BTreeMap<String, String>,
}

impl Settings {
    /// Reads them; makes new ones where there are none.
    pub(crate) fn read_or_make(folder: &Path) -> Result<Self> {
        let text = fs::read_to_string(file(folder)).ok();
        if let Some(settings) = text.and_then(|text| serde_json::from_str(&text).ok()) {
            return Ok(settings);
        }
        Ok(Self {
            ingest_port: ports::free()?,
            ingest_admin_port: ports::free()?,
            worker_admin_port: ports::free()?,
            secret: format!("whsec_{}", random::hex(24)),
            started_with: BTreeMap::new(),
        })
    }

    /// Takes other ports in place of those that somebody else listens on by now.
    pub(crate) fn leave_taken_ports(&mut self, folder: &Path) -> Result<()> {
        let runs = |name: &str| {
            let record = folder.join(format!("{name}.json"));
            Identity::read(&record).is_some_and(|identity| identity.is_alive())
        };
        let ingest =
            [&mut self.ingest_port, &mut self.ingest_admin_port].map(|port| ("ingest", port));
        for (name, port) in ingest
            .into_iter()
            .chain([("worker", &mut self.worker_admin_port)])
        {
            if !runs(name) && !ports::is_free(*port) {
                *port = ports::free()?;
            }
        }
        Ok(())
    }

    /// Writes them.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        checkout::write_private(&file(folder), &serde_json::to_string(self)?)
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("settings.json")
}

/// The folder of `up`.
pub(crate) fn folder() -> Result<PathBuf> {
    let folder = checkout::dev_folder()?.join("up");
    checkout::make_folder(&folder)?;
    Ok(folder)
}

/// The file of shell lines that `up` writes.
pub(crate) fn env_file() -> Result<PathBuf> {
    Ok(checkout::dev_folder()?.join("env"))
}

/// Keeps a copy of this program beside what it starts. `make down` runs the copy:
/// it is there whatever has become of the target folder, and it is never the
/// program of another checkout that shares that folder.
pub(crate) fn keep_program(folder: &Path) -> Result<()> {
    // The path of this program may hold another one by now.
    checkout::copy_program(Path::new("/proc/self/exe"), &folder.join("stack"))
}

/// Keeps a second `up` or `down` waiting while one is at work.
pub(crate) fn lock() -> Result<File> {
    let path = checkout::dev_folder()?.join("up.lock");
    let file = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    file.lock()
        .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// The servers that are given, without those that are our own: their addresses
/// are in the environment of a shell that has read `.dev/env`.
pub(crate) fn given(folder: &Path) -> Given {
    let given = Given::from_env();
    let ours = postgres::known_url(&folder.join("postgres"));
    let database_url = given.database_url.filter(|url| Some(url) != ours.as_ref());
    let ours = rabbitmq::known_url(&folder.join("rabbitmq"));
    let amqp_url = given.amqp_url.filter(|url| Some(url) != ours.as_ref());
    Given {
        database_url,
        amqp_url,
    }
}
