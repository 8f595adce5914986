//! Waits for a level to be reached: bounded, and never for a length of time.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Pause between two looks: short against everything that is waited for, long
/// enough that looking costs the machine nothing.
pub const STEP: Duration = Duration::from_millis(20);

/// What one look found.
#[derive(Debug)]
pub enum Seen<T> {
    /// The level is reached.
    Reached(T),
    /// Not yet; the text says what was seen instead.
    NotYet(String),
    /// It cannot be reached any more; the text says why.
    Never(String),
}

/// Looks again and again until `look` has reached its level or `bound` is over.
///
/// # Errors
/// When the time is over or the level cannot be reached; the error says what was
/// waited for and the last state seen.
pub async fn until<T>(
    what: impl fmt::Display,
    bound: Duration,
    mut look: impl AsyncFnMut() -> Seen<T>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let last = match look().await {
            Seen::Reached(value) => return Ok(value),
            Seen::Never(why) => bail!("{what}: {why}"),
            Seen::NotYet(state) => state,
        };
        if start.elapsed() > bound {
            bail!("{what}: not after {} s; last seen: {last}", bound.as_secs());
        }
        tokio::time::sleep(STEP).await;
    }
}
