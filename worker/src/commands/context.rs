//! What the commands for operators have in common.

use std::process;

use clap::Args;
use diesel_async::AsyncPgConnection;
use shared::{config::Env, shutdown};
use tokio_util::sync::CancellationToken;

use super::{failed::Failed, output::Output};
use crate::{settings::DatabaseSettings, store::connect::Database};

/// Options of every command that prints.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Form {
    /// Print one JSON object a line, for programs
    #[arg(long)]
    pub(super) json: bool,
}

impl Form {
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
    pub(super) fn new(env: &'a Env) -> Result<Self, Failed> {
        Ok(Self {
            env,
            database: DatabaseSettings::from_env(env)?.database,
            stop: shutdown::on_signal().map_err(Failed::Signals)?,
        })
    }

    pub(super) async fn connect(&self) -> Result<AsyncPgConnection, Failed> {
        Ok(self.database.connect().await?)
    }

    /// Who is at work: `--by`, else the user of this shell.
    pub(super) fn by(&self, given: Option<&String>) -> Result<String, Failed> {
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
    pub(super) fn check(&self) -> Result<(), Failed> {
        if self.stop.is_cancelled() {
            Err(Failed::Interrupted)
        } else {
            Ok(())
        }
    }
}
