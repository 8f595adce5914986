//! How a service is to be started.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::binary;
use crate::ports;

/// How a service is to be started.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// Name of the binary.
    pub name: String,
    /// The binary, where it is not the one that was built beside this program.
    pub binary: Option<PathBuf>,
    /// Folder for its log and its record.
    pub folder: PathBuf,
    /// Port of its public listener on 127.0.0.1, where it has one.
    pub port: Option<u16>,
    /// Port of its admin listener on 127.0.0.1.
    pub admin_port: u16,
    /// Its environment.
    pub environment: Vec<(String, OsString)>,
    /// Whether it gets this program's environment too. Tests say no, so that a
    /// developer's settings do not change what they see.
    pub inherit: bool,
}

impl ServiceOptions {
    /// An `ingest` on free ports.
    ///
    /// # Errors
    /// When no port is free.
    pub fn ingest(folder: &Path) -> Result<Self> {
        Ok(Self::ingest_on(folder, ports::free()?, ports::free()?))
    }

    /// An `ingest` on these ports of 127.0.0.1.
    #[must_use]
    pub fn ingest_on(folder: &Path, port: u16, admin_port: u16) -> Self {
        Self::new("ingest", folder, Some(port), admin_port)
            .env("INGEST_LISTEN", format!("127.0.0.1:{port}"))
            .env("INGEST_ADMIN_LISTEN", format!("127.0.0.1:{admin_port}"))
    }

    /// A `worker` on a free port.
    ///
    /// # Errors
    /// When no port is free.
    pub fn worker(folder: &Path) -> Result<Self> {
        Ok(Self::worker_on(folder, ports::free()?))
    }

    /// A `worker` on this port of 127.0.0.1.
    #[must_use]
    pub fn worker_on(folder: &Path, admin_port: u16) -> Self {
        Self::new("worker", folder, None, admin_port)
            .env("WORKER_ADMIN_LISTEN", format!("127.0.0.1:{admin_port}"))
    }

    fn new(name: &str, folder: &Path, port: Option<u16>, admin_port: u16) -> Self {
        let (name, folder) = (name.to_owned(), folder.to_owned());
        Self {
            name,
            binary: None,
            folder,
            port,
            admin_port,
            environment: Vec::new(),
            inherit: false,
        }
    }

    /// Adds a variable to its environment; the last one of a name counts.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Where its record lies, by which a later program finds it.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.name))
    }

    /// Where its log lies.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    /// The binary that is to be run.
    ///
    /// # Errors
    /// When it is not there.
    pub fn find_binary(&self) -> Result<PathBuf> {
        self.binary.clone().map_or_else(|| binary(&self.name), Ok)
    }
}
