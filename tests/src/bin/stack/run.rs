//! `stack run -- COMMAND`: a command with servers around it.

use std::{
    ffi::OsString, os::unix::process::ExitStatusExt as _, path::Path, process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use harness::{private::PrivateFolder, servers::Given};
use tokio::process::{Child, Command};

use crate::{private, signals::Stop};

/// How long the command is given to end after a signal, before it is killed.
const END_BOUND: Duration = Duration::from_secs(10);

/// Runs the command and gives its exit code; that of a command that a signal
/// ended is 128 and the signal's number, as in a shell.
pub(crate) async fn run(command: &[OsString]) -> Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let folder = PrivateFolder::make("run")?;
    with_servers(folder.path(), command, &mut stop).await
}

async fn with_servers(folder: &Path, command: &[OsString], stop: &mut Stop) -> Result<ExitCode> {
    let given = Given::from_env();
    if given.database_url.is_none() || given.amqp_url.is_none() {
        eprintln!("stack: starting private servers");
    }
    let servers = tokio::select! {
        servers = private::servers(folder, given) => servers?,
        number = stop.wait() => return Ok(Stop::exit_code(number)),
    };
    let (program, arguments) = command.split_first().context("no command given")?;
    let child = Command::new(program)
        .args(arguments)
        .env("DATABASE_URL", servers.database_url())
        .env("AMQP_URL", servers.amqp_url())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    wait_for(child, stop).await
}

async fn wait_for(mut child: Child, stop: &mut Stop) -> Result<ExitCode> {
    let status = tokio::select! {
        status = child.wait() => status?,
        number = stop.wait() => {
            // From a terminal the command has got the signal already, from
            // elsewhere it has not. A second one does no harm.
            let pid = child.id().and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?));
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            let _ = tokio::time::timeout(END_BOUND, child.wait()).await;
            return Ok(Stop::exit_code(number));
        }
    };
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    let number = status.signal().and_then(|number| u8::try_from(number).ok());
    Ok(code.map_or_else(
        || Stop::exit_code(number.unwrap_or_default()),
        ExitCode::from,
    ))
}
