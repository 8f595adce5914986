//! Tries suspects together: deliveries that came back to the queue so often that one of them may
//! be what its workers died of.
//!
//! Most of them only were in the hands of processes that died, up to 1,500 each time, and handling
//! each alone would take a minute. So some are tried together first, and the try is noted of each
//! before any is decoded. Where it succeeds, they are done. Where the process dies, the next worker
//! finds the notes and handles each of them [alone](super::alone).

use domain::outcome::Decision;
use lapin::message::Delivery as Message;
use store::{Error, crash_note};

use crate::pipeline::{
    delivery::{Decoder, Delivery},
    executor::{BatchExecutor, Tried},
};

/// For each note, whether it is there: a process died while it handled the message, which has
/// to be handled alone.
///
/// # Errors
/// The database cannot be asked.
pub(super) async fn are_there(
    executor: &BatchExecutor,
    notes: &[&str],
) -> Result<Vec<bool>, Error> {
    let conn = executor.pool.get().await?;
    let there = crash_note::find(&conn, notes).await?;
    Ok(notes.iter().map(|note| there.contains(*note)).collect())
}

/// Tries messages once, whose notes are not there. No note is left of a try that ends otherwise
/// than by a death, but where the database cannot be reached.
pub(super) async fn attempt(
    executor: &BatchExecutor,
    decoder: &Decoder,
    messages: &[Message],
    notes: &[&str],
) -> Tried<(Vec<Delivery>, Vec<Decision>)> {
    if let Err(error) = begin(executor, notes).await {
        return Some(Err(error));
    }
    let tried = handle(executor, decoder, messages, notes).await;
    if !matches!(tried, Some(Ok(_))) {
        // Where this fails as well, each has a try together in its note, which does not count.
        let _away = executor.take_back(notes).await;
    }
    tried
}

/// Decodes and applies them.
async fn handle(
    executor: &BatchExecutor,
    decoder: &Decoder,
    messages: &[Message],
    notes: &[&str],
) -> Tried<(Vec<Delivery>, Vec<Decision>)> {
    let deliveries = decode(decoder, messages)?;
    let tried = executor.try_noted(&deliveries, notes).await?;
    Some(tried.map(|decisions| (deliveries, decisions)))
}

/// Notes that the try begins, once nobody else is in its way.
async fn begin(executor: &BatchExecutor, notes: &[&str]) -> Result<(), Error> {
    let mut conn = executor.pool.get().await?;
    store::transaction(&mut conn, async |tx| {
        let lock = tx.lock_writers().await?;
        crash_note::begin_together(&lock, notes).await
    })
    .await
}

/// All of them; `None` where decoding one panics.
fn decode(decoder: &Decoder, messages: &[Message]) -> Option<Vec<Delivery>> {
    let decoded = messages.iter().map(|message| {
        let decoded = decoder.decode(&message.data)?;
        Some(Delivery::of(message, decoded))
    });
    decoded.collect()
}
