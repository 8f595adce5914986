//! Signals that ask this program to end.

use std::process::ExitCode;

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask this program to end. Heard from the start on, so that
/// none of them ends it before its servers are stopped.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Stop {
    /// Starts to listen.
    pub(crate) fn listen() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Number of the next signal.
    pub(crate) async fn wait(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
            _ = self.hang_up.recv() => 1,
        }
    }

    /// The exit code of a program that this signal has ended, as in a shell.
    pub(crate) fn exit_code(number: u8) -> ExitCode {
        ExitCode::from(128_u8.saturating_add(number))
    }
}
