//! Handles a delivery alone whose worker died while it handled few others beside it.
//!
//! Each try is noted in the database before it begins, and the note goes with whatever
//! the try comes to but a death or a panic. So an event is given up only after tries in
//! succession, in each of which the process died while it handled nothing else.

use std::{
    panic::{self, AssertUnwindSafe},
    slice,
};

use domain::{
    event::{self, Rejected},
    outcome::Decision,
    rejection::Rejection,
};
use lapin::message::Delivery as Message;
use store::{Error, crash_note};

use crate::{
    dead_letters::death,
    pipeline::{
        delivery::{Decoder, Delivery},
        executor::{BatchExecutor, Tried, refused_by_database},
        unknown_errors::{self, Failures},
    },
};

/// After so many tries that ended with the process or a panic an event is given up. One
/// death may be an operator's doing, as may two; five at the same event are not.
pub const MAX_TRIES: i32 = 5;

/// A delivery that is handled alone.
#[derive(Debug)]
pub(super) struct Alone<'a> {
    executor: &'a BatchExecutor,
    decoder: &'a Decoder,
    message: &'a Message,
    /// The id of its note.
    id: String,
    /// The number of the last try that was noted.
    tries: i32,
    /// Whether the last try ended without a death: what is noted of it no longer counts.
    is_survived: bool,
    /// The tries that failed otherwise.
    failures: Failures,
}

impl<'a> Alone<'a> {
    pub(super) fn new(
        executor: &'a BatchExecutor,
        decoder: &'a Decoder,
        message: &'a Message,
    ) -> Self {
        Self {
            executor,
            decoder,
            message,
            id: note_id(message),
            tries: 0,
            is_survived: false,
            failures: Failures::default(),
        }
    }

    /// Whether the event is being given up: it is not decoded any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.tries > MAX_TRIES
    }

    /// Tries it once, or gives it up. The note of a try that panicked stays.
    pub(super) async fn attempt(&mut self) -> Tried<Decision> {
        // The note of an event that is given up stands until it is a dead letter.
        if !(self.is_survived && self.is_given_up()) {
            match self.begin().await {
                Ok(tries) => self.tries = tries,
                Err(error) => return Some(Err(error)),
            }
        }
        self.is_survived = false;
        let tried = self.handle().await;
        if let Some(Err(_)) = tried {
            self.is_survived = true;
            if !self.is_given_up() {
                // Where this fails as well, the next try begins with it.
                let _away = self.executor.take_back(&[&self.id]).await;
            }
        }
        tried
    }

    /// Notes that a try begins, once nobody else is in its way.
    async fn begin(&self) -> Result<i32, Error> {
        let mut conn = self.executor.pool.get().await?;
        store::transaction(&mut conn, async |tx| {
            let lock = tx.lock_writers().await?;
            if self.is_survived {
                crash_note::remove(tx, &[&self.id]).await?;
            }
            crash_note::begin(&lock, &self.id).await
        })
        .await
    }

    /// Decodes and applies it.
    async fn handle(&mut self) -> Tried<Decision> {
        let decoded = match self.tries {
            ..=MAX_TRIES => self.decoder.decode(&self.message.data)?,
            tries => Err(given_up(self.message, tries)),
        };
        let mut delivery = Delivery::of(self.message, decoded);
        loop {
            let deliveries = slice::from_ref(&delivery);
            match self.executor.try_noted(deliveries, &[&self.id]).await? {
                Err(Error::Refused { rule, .. }) if delivery.decoded.is_ok() => {
                    delivery = refused_by_database(&delivery, rule);
                }
                Ok(mut decisions) => {
                    return Some(Ok(decisions.pop().unwrap_or(Decision::Duplicate)));
                }
                Err(error) => {
                    let can_be_refused = delivery.decoded.is_ok();
                    let failures = &mut self.failures;
                    if !can_be_refused
                        || !failures
                            .are_enough(self.executor.sampler(), &delivery, &error)
                            .await
                    {
                        return Some(Err(error));
                    }
                    delivery = refused_by_database(&delivery, unknown_errors::RULE);
                }
            }
        }
    }
}

/// The id of a message's note: its own, where Postgres can keep that.
pub(super) fn note_id(message: &Message) -> String {
    let id = message.properties.message_id().as_ref();
    match id.map(|id| id.as_str()) {
        Some(id) if !id.is_empty() && !id.contains('\0') => id.to_owned(),
        Some(_) | None => death::id_of_bytes(&message.data),
    }
}

/// The event as one that kills who handles it. Its fields outside `data` are read once: if
/// that is what kills, the next worker does without them.
fn given_up(message: &Message, tries: i32) -> Rejected {
    let read = AssertUnwindSafe(|| event::header(&message.data).ok());
    let header = match tries > MAX_TRIES + 1 {
        true => None,
        false => panic::catch_unwind(read).ok().flatten(),
    };
    Rejected {
        header: header.map(Box::new),
        rejection: Rejection::CrashesWorker,
    }
}

#[cfg(test)]
mod tests;
