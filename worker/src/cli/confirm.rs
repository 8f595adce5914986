//! Asking before something is changed.

use std::{
    io::{self, IsTerminal, Write},
    thread,
};

use clap::Args;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::error::CliError;

/// Options of every command that changes something.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct ChangeArgs {
    /// Print what would be done, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl ChangeArgs {
    /// Asks, unless `--yes` was given.
    pub(super) async fn confirm(
        self,
        question: &str,
        stop: &CancellationToken,
    ) -> Result<(), CliError> {
        match self.yes {
            true => Ok(()),
            false => ask(question, stop).await,
        }
    }
}

/// Asks on a terminal; elsewhere only `--yes` will do.
async fn ask(question: &str, stop: &CancellationToken) -> Result<(), CliError> {
    if !io::stdin().is_terminal() {
        return Err(CliError::Usage(format!(
            "{question}: nobody is there to ask; add --yes, or --dry-run to see what would be done"
        )));
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    // A thread of its own: ctrl-c need not wait for the rest of the line.
    let (send, answer) = oneshot::channel();
    thread::spawn(move || {
        let mut answer = String::new();
        let read = io::stdin().read_line(&mut answer).map(|_| answer);
        let _nobody_waits = send.send(read);
    });
    let answer = tokio::select! {
        answer = answer => answer.map_err(io::Error::other)??,
        () = stop.cancelled() => return Err(CliError::Interrupted),
    };
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CliError::Usage("nothing was changed".into())),
    }
}
