//! A private Erlang port mapper: the directory in which the nodes of a RabbitMQ
//! cluster find each other.
//!
//! A node would start one by itself, on the standard port and for the whole
//! machine. One of our own keeps clear of other RabbitMQ servers and can be
//! stopped again.

use std::{net::TcpStream, path::Path, time::Duration};

use anyhow::Result;

use crate::{
    process::{self, Identity, Process},
    wait::{self, Seen},
};

/// Bound for becoming ready; it only binds a port.
const READY_BOUND: Duration = Duration::from_secs(10);

/// A private port mapper; killed when dropped, unless told to stay.
#[derive(Debug)]
pub struct Epmd {
    process: Process,
    port: u16,
}

impl Epmd {
    /// Starts a port mapper on this port of 127.0.0.1, or takes over the one
    /// that the record in `folder` tells of.
    ///
    /// # Errors
    /// When it is not installed or does not become ready.
    pub async fn start(folder: &Path, port: u16) -> Result<Self> {
        let mut process = match Self::find(folder) {
            Some(process) => process,
            None => spawn(folder, port)?,
        };
        wait::until("the Erlang port mapper", READY_BOUND, async || {
            if let Some(why) = process.why_dead() {
                return Seen::Never(why);
            }
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(_) => Seen::Reached(()),
                Err(error) => Seen::NotYet(error.to_string()),
            }
        })
        .await?;
        Ok(Self { process, port })
    }

    /// The one that an earlier program started for this folder, where it runs.
    pub(super) fn find(folder: &Path) -> Option<Process> {
        Process::find("epmd", &folder.join("epmd.json"), &folder.join("epmd.log"))
    }

    /// Whether one runs for this folder.
    pub(super) fn runs(folder: &Path) -> bool {
        Identity::read(&folder.join("epmd.json")).is_some_and(|identity| identity.is_alive())
    }

    /// Its TCP port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Keeps it running when this value goes.
    pub fn leave_running(&self) {
        self.process.leave_running();
    }
}

fn spawn(folder: &Path, port: u16) -> Result<Process> {
    let marker = format!("-port {port} -address 127.0.0.1");
    let mut command = process::command("epmd");
    command.args(marker.split(' ')).current_dir("/");
    Process::spawn(
        "epmd",
        &mut command,
        &marker,
        &folder.join("epmd.json"),
        &folder.join("epmd.log"),
    )
}
