//! What operators see of a unit: what came of their replays, and which dead
//! letters are resolved. Written in the unit's transaction.

use diesel_async::AsyncPgConnection;

use crate::{
    events::verdict::{Judgement, Verdict},
    failure::Failure,
    process::{Freshness, Item, header},
    store::{
        dead_letter,
        replay::{self, Note},
    },
};

/// Notes it. Costs nothing where nothing was replayed and nothing was dead.
///
/// # Errors
/// [`Failure`].
pub(crate) async fn note(
    conn: &AsyncPgConnection,
    items: &[Item],
    fresh: &[Freshness],
    verdicts: &[Judgement],
) -> Result<(), Failure> {
    let mut notes = Vec::new();
    let mut resolved = Vec::new();
    for ((item, fresh), (verdict, reason)) in items.iter().zip(fresh).zip(verdicts) {
        let outcome = match verdict {
            // The burial notes it, together with the dead letter.
            Verdict::Dead(_) => continue,
            Verdict::Duplicate => "duplicate",
            Verdict::Settled(outcome) => outcome.as_str(),
        };
        let event = header(&item.reading).map(|header| header.id.as_str());
        if let Some(ticket) = &item.ticket {
            notes.push(Note {
                ticket,
                outcome,
                reason: *reason,
            });
            // Where the bytes were unreadable, the dead letter's id is not the
            // event's.
            resolved.push((ticket.item.as_str(), Some(ticket.run)));
        }
        if let Some(event) = event.filter(|_| fresh.is_again()) {
            let run = item.ticket.as_ref().map(|ticket| ticket.run);
            resolved.push((event, run));
        }
    }
    replay::note(conn, &notes).await?;
    Ok(dead_letter::resolve(conn, &resolved).await?)
}
