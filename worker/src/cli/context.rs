//! What the commands for operators have in common.

use std::process;

use clap::Args;
use shared::{config::Env, shutdown};
use store::{Connection, Database};
use tokio_util::sync::CancellationToken;

use super::{error::CliError, output::Output};
use crate::config::DatabaseConfig;

/// Options of every command that prints.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct OutputFormat {
    /// Print one JSON object a line, for programs
    #[arg(long)]
    pub(super) json: bool,
}

impl OutputFormat {
    pub(super) fn output(self) -> Output {
        Output::new(self.json)
    }
}

/// The database, and when to stop.
pub(super) struct Context<'a> {
    pub(super) env: &'a Env,
    pub(super) database: Database,
    pub(super) stop: CancellationToken,
}

impl<'a> Context<'a> {
    pub(super) fn new(env: &'a Env) -> Result<Self, CliError> {
        Ok(Self {
            env,
            database: DatabaseConfig::from_env(env)?.database,
            stop: shutdown::on_signal().map_err(CliError::Signals)?,
        })
    }

    pub(super) async fn connect(&self) -> Result<Connection, CliError> {
        Ok(self.database.connect().await?)
    }

    /// Who is at work: `--by`, else the user of this shell.
    pub(super) fn by(&self, given: Option<&String>) -> Result<String, CliError> {
        if let Some(by) = given {
            return Ok(by.replace('\0', ""));
        }
        let user = self.env.optional("USER")?.or(self.env.optional("LOGNAME")?);
        Ok(match user {
            Some(user) => user.to_owned(),
            None => format!("process {}", process::id()),
        })
    }

    /// Ends a long list early, as ctrl-c asks.
    pub(super) fn check(&self) -> Result<(), CliError> {
        if self.stop.is_cancelled() {
            Err(CliError::Interrupted)
        } else {
            Ok(())
        }
    }
}
