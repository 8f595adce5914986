//! The replays of one event, printed.

use std::io;

use serde_json::{Value, json};

use crate::{
    commands::output::{Output, or_empty, stamp, time},
    store::history::Replayed,
};

/// Prints them, where there are any.
pub(in crate::commands) fn print(output: &mut Output, replays: &[Replayed]) -> io::Result<()> {
    if replays.is_empty() {
        return Ok(());
    }
    output.line("\nReplays")?;
    output.table(
        ["RUN", "BY", "SENT", "OUTCOME", "REASON", "JUDGED"],
        replays.iter().map(|replay| {
            [
                replay.replay_id.to_string(),
                replay.replayed_by.clone(),
                replay.published_at.map(time).unwrap_or_default(),
                replay.outcome.clone().unwrap_or_else(|| "not yet".into()),
                or_empty(replay.reason.as_ref()),
                replay.judged_at.map(time).unwrap_or_default(),
            ]
        }),
    )
}

/// One of them for programs.
pub(in crate::commands) fn object(replay: &Replayed) -> Value {
    json!({
        "replay": replay.replay_id,
        "by": replay.replayed_by,
        "started_at": stamp(replay.started_at),
        "published_at": replay.published_at.map(stamp),
        "outcome": replay.outcome,
        "reason": replay.reason,
        "judged_at": replay.judged_at.map(stamp),
    })
}
