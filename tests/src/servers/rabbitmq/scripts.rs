//! RabbitMQ's scripts: where they are, and how they are kept private.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::process;

/// The folder of RabbitMQ's own scripts. Debian's wrappers of them on the `PATH`
/// insist on root or the user rabbitmq; these run for anybody.
pub(super) fn find() -> Result<PathBuf> {
    let versioned = fs::read_dir("/usr/lib/rabbitmq/lib")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name();
            name.to_str()?
                .starts_with("rabbitmq_server-")
                .then(|| entry.path().join("sbin"))
        });
    ["/usr/lib/rabbitmq/bin", "/opt/rabbitmq/sbin"]
        .into_iter()
        .map(PathBuf::from)
        .chain(versioned)
        .find(|folder| folder.join("rabbitmq-server").is_file())
        .context(
            "RabbitMQ is not installed: run scripts/install-servers.sh, install Debian's \
             package rabbitmq-server, or set AMQP_URL to a server of yours",
        )
}

/// A script that keeps to this folder, whatever the environment and the
/// machine's configuration say of other nodes.
pub(super) fn private(script: &Path, folder: &Path) -> Command {
    let mut command = process::command(script);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"RABBITMQ_") {
            command.env_remove(name);
        }
    }
    command
        .current_dir(folder)
        // Here lies the cookie.
        .env("HOME", folder)
        .env("RABBITMQ_MNESIA_BASE", folder.join("data"))
        .env("RABBITMQ_LOG_BASE", folder.join("log"))
        .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"))
        .env(
            "RABBITMQ_ADVANCED_CONFIG_FILE",
            folder.join("advanced.config"),
        )
        .env("RABBITMQ_CONF_ENV_FILE", folder.join("rabbitmq-env.conf"))
        .env(
            "RABBITMQ_ENABLED_PLUGINS_FILE",
            folder.join("enabled_plugins"),
        )
        // Idle schedulers sleep at once instead of spinning: the machine's few
        // cores are for the tests.
        .env(
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "+sbwt none +sbwtdcpu none +sbwtdio none",
        );
    command
}
