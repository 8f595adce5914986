//! The replays of one event, printed.

use std::io;

use serde_json::{Value, json};

use store::event_query::Replayed;

use crate::cli::output::{Output, or_empty, stamp, time};

/// Prints them, where there are any.
pub(in crate::cli) fn print(output: &mut Output, replays: &[Replayed]) -> io::Result<()> {
    if replays.is_empty() {
        return Ok(());
    }
    output.line("\nReplays")?;
    output.table(
        ["RUN", "BY", "SENT", "OUTCOME", "REASON", "DECIDED"],
        replays.iter().map(|replay| {
            [
                replay.replay_id.to_string(),
                replay.replayed_by.clone(),
                replay.published_at.map(time).unwrap_or_default(),
                replay.outcome.clone().unwrap_or_else(|| "not yet".into()),
                or_empty(replay.reason.as_ref()),
                replay.decided_at.map(time).unwrap_or_default(),
            ]
        }),
    )
}

/// One of them for programs.
pub(in crate::cli) fn object(replay: &Replayed) -> Value {
    json!({
        "replay": replay.replay_id,
        "by": replay.replayed_by,
        "started_at": stamp(replay.started_at),
        "published_at": replay.published_at.map(stamp),
        "outcome": replay.outcome,
        "reason": replay.reason,
        "decided_at": replay.decided_at.map(stamp),
    })
}
