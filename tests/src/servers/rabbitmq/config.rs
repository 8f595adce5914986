//! What a private RabbitMQ node keeps beside its data, and its configuration.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::RabbitMqOptions;
use crate::{checkout, ports, random, servers::Durability};

/// Name of the user with all rights.
const USER: &str = "dialoom";

/// What is kept beside the data.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct State {
    pub(super) node: String,
    pub(super) port: u16,
    pub(super) dist_port: u16,
    pub(super) epmd_port: u16,
    pub(super) password: String,
    pub(super) cookie: String,
}

impl State {
    /// The state of the node in this folder, where there is one.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        let text = fs::read_to_string(folder.join("state.json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// The state of the node in this folder; that of a new node where there is none.
    pub(super) fn read_or_make(folder: &Path, name: &str) -> Result<Self> {
        if let Some(state) = Self::read(folder) {
            return Ok(state);
        }
        let name = if name.is_empty() { "stack" } else { name };
        Ok(Self {
            node: format!("{name}@localhost"),
            port: ports::free()?,
            dist_port: ports::free()?,
            epmd_port: ports::free()?,
            password: random::hex(16),
            cookie: random::hex(16),
        })
    }

    /// Address of the node, for a user with all rights.
    pub(super) fn url(&self) -> String {
        let Self { port, password, .. } = self;
        format!("amqp://{USER}:{password}@127.0.0.1:{port}/%2f")
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        checkout::write_private(&folder.join("state.json"), &serde_json::to_string(self)?)
    }

    /// Takes other ports in place of those that somebody else listens on by now.
    pub(super) fn leave_taken_ports(&mut self, epmd_runs: bool) -> Result<()> {
        let epmd_port = (!epmd_runs).then_some(&mut self.epmd_port);
        for port in [&mut self.port, &mut self.dist_port]
            .into_iter()
            .chain(epmd_port)
        {
            if !ports::is_free(*port) {
                *port = ports::free()?;
            }
        }
        Ok(())
    }
}

/// Writes the files that the node reads when it starts.
pub(super) fn write(
    folder: &Path,
    state: &State,
    options: &RabbitMqOptions,
    cookie: &str,
) -> Result<()> {
    let State { port, password, .. } = state;
    let fast = match options.durability {
        Durability::Durable => "",
        // 32 MiB instead of 512 MiB, so that it stays small in memory and on disk.
        Durability::Fast => "raft.wal_max_size_bytes = 33554432\n",
    };
    let further = &options.config;
    let config = format!(
        "listeners.tcp.local = 127.0.0.1:{port}\n\
         default_user = {USER}\n\
         default_pass = {password}\n\
         vm_memory_high_watermark.relative = 0.4\n\
         disk_free_limit.absolute = 50MB\n\
         log.console = false\n\
         {fast}{further}\n"
    );
    checkout::write_private(&folder.join("rabbitmq.conf"), &config)?;
    checkout::write_private(&folder.join("rabbitmq-env.conf"), "")?;
    checkout::write_private(&folder.join("advanced.config"), "[].\n")?;
    let plugins = options.plugins.join(",");
    checkout::write_private(&folder.join("enabled_plugins"), &format!("[{plugins}].\n"))?;
    let cookie_file = folder.join(".erlang.cookie");
    checkout::write_private(&cookie_file, cookie)?;
    // Erlang refuses a cookie that others may read, RabbitMQ one that is not 0400 or 0600.
    fs::set_permissions(&cookie_file, fs::Permissions::from_mode(0o400))?;
    Ok(())
}
