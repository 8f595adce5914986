//! How a process is asked to end: SIGTERM or SIGINT.

use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code after a second signal: 128 + SIGINT, as shells report it.
const EXIT_IMPATIENT: i32 = 130;

/// A token that is cancelled by the first SIGTERM or SIGINT. A second signal
/// ends the process at once, without any cleaning up.
///
/// # Errors
/// The signal handlers cannot be installed.
pub fn on_signal() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let name = next().await;
        tracing::info!(signal = name, "shutting down");
        cancelled.cancel();
        let name = next().await;
        tracing::warn!(signal = name, "second signal: leaving at once");
        std::process::exit(EXIT_IMPATIENT);
    });
    Ok(token)
}
