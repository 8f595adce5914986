//! Asking before something is changed.

use std::io::{self, IsTerminal, Write};

use tokio_util::sync::CancellationToken;

use super::failed::Failed;

/// Asks on a terminal; elsewhere only `--yes` will do.
pub(super) async fn confirm(
    question: &str,
    yes: bool,
    stop: &CancellationToken,
) -> Result<(), Failed> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failed::Usage(format!(
            "{question}: nobody is there to ask; add --yes, or --dry-run to see what would be done"
        )));
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map(|_| answer)
    });
    let answer = tokio::select! {
        answer = answer => answer.map_err(io::Error::other)??,
        () = stop.cancelled() => return Err(Failed::Interrupted),
    };
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failed::Usage("nothing was changed".into())),
    }
}
