//! Gives up an event at which the database fails again and again with an error that nobody knows.
//!
//! Most errors pass, or are everybody's: a lock, a full disk, a right or a column that is missing.
//! An event is not condemned for these. What is left is an error of the event's own values, and
//! without an end to its tries it would stop the queue for good. Diesel does not tell the SQLSTATE,
//! and Postgres says it in the language of the server. So each time that the event fails alone, a
//! sample of the same kind of object is taken in its place and undone. Where the sample fails as
//! well, or somebody has locked rows, the failure does not count; nor does a row that only another
//! release can read.

use std::{panic::AssertUnwindSafe, slice};

use ::event::{EventType, Mode, ObjectType};
use domain::{
    event,
    main_app::{Obstacle, ObstacleReason},
    rules::Rules,
    source::Recheck,
};
use futures_util::FutureExt;
use serde_json::{Value, json};
use shared::clock;
use store::{
    Error, Pool,
    archive_page::ArchivePolicy,
    lock_holders,
    main_app::{LeftAlone, booking::Bookings},
    outbox::Outbox,
};

use crate::pipeline::{
    delivery::{Decoder, Delivery},
    postgres::Postgres,
    process::{Work, process},
};

/// After so many failures in a row that count, the event is given up. Their pauses come to a second
/// and a half: an intermittent error passes in that time, and everybody waits no longer.
const MAX_FAILURES: u32 = 5;

/// What is said of an event that was given up.
pub(super) const RULE: &str = "an error that this event alone meets, each time that it is tried";

/// The metadata's key by which a sample names its booking.
const BOOKING_KEY: &str = "sample";

/// The tries of one event alone that failed.
#[derive(Debug, Default)]
pub(super) struct Failures(u32);

impl Failures {
    /// Notes that the event failed alone. Says whether it is to be given up.
    pub(super) async fn are_enough(
        &mut self,
        sampler: Sampler<'_>,
        delivery: &Delivery,
        error: &Error,
    ) -> bool {
        let may_pass =
            error.is_unavailable() || error.is_of_time() || error.is_of_another_release();
        if !may_pass && sampler.takes_sample(delivery).await {
            self.0 += 1;
        }
        self.0 >= MAX_FAILURES
    }
}

/// Takes samples as events are taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampler<'a> {
    pub(super) pool: &'a Pool,
    pub(super) archive: ArchivePolicy,
    pub(super) outbox: Outbox,
}

/// How the transaction of a sample ends: it is never committed.
enum Undone {
    /// The sample was taken; whether nobody else has locked rows.
    Taken { is_free: bool },
    /// It was not.
    Failed,
}

impl From<Error> for Undone {
    fn from(_: Error) -> Self {
        Self::Failed
    }
}

impl Sampler<'_> {
    /// Whether the database takes an event of the same kind of object now, and nobody else has
    /// locked a row that an event may need.
    async fn takes_sample(&self, delivery: &Delivery) -> bool {
        let event_type = delivery.header().map(|header| header.event_type.as_str());
        let event_type = event_type.and_then(EventType::parse);
        let object = event_type.map_or(ObjectType::Invoice, EventType::object);
        let sample = sample(object);
        let taken = AssertUnwindSafe(self.take_sample(&sample)).catch_unwind();
        matches!(taken.await, Ok(Undone::Taken { is_free: true }))
    }

    async fn take_sample(&self, sample: &Delivery) -> Undone {
        let Ok(mut conn) = self.pool.get().await else {
            return Undone::Failed;
        };
        let left_alone = LeftAlone::all(Obstacle::new(ObstacleReason::NotTried, "a sample"));
        let work = Work {
            deliveries: slice::from_ref(sample),
            recheck: &Recheck::default(),
            archive: self.archive,
        };
        let now = clock::now_utc();
        let undone = store::transaction(&mut conn, async |tx| {
            let storage = Postgres::new(tx, Bookings::default(), &left_alone, self.outbox);
            process(&storage, work, now).await?;
            // No other writer is at work now: it holds the writers' lock.
            let is_free = !lock_holders::are_rows_locked(tx).await?;
            Err::<(), _>(Undone::Taken { is_free })
        });
        undone.await.err().unwrap_or(Undone::Failed)
    }
}

/// A plain event of an object of this kind, of ids that Stripe does not give.
fn sample(object: ObjectType) -> Delivery {
    let (event_type, object) = match object {
        ObjectType::Invoice => (
            EventType::InvoicePaid,
            json!({ "id": "in_sample", "status": "paid", "total": 1, "currency": "eur" }),
        ),
        ObjectType::CheckoutSession => (
            EventType::CheckoutSessionCompleted,
            json!({ "id": "cs_sample", "invoice": "in_sample", "payment_intent": "pi_sample" }),
        ),
        ObjectType::Account => (EventType::AccountUpdated, json!({ "id": "acct_sample" })),
        ObjectType::Charge => (
            EventType::ChargeRefunded,
            json!({ "id": "ch_sample", "invoice": "in_sample", "amount_refunded": 1 }),
        ),
        ObjectType::CreditNote => (
            EventType::CreditNoteCreated,
            json!({ "id": "cn_sample", "invoice": "in_sample", "amount": 1 }),
        ),
    };
    let body = json!({
        "id": "evt_sample", "object": "event", "type": event_type.as_str(),
        "account": "acct_sample", "created": 1, "livemode": false,
        "data": { "object": named(object) },
    });
    let decoder = Decoder {
        rules: Rules {
            mode: Mode::Test,
            booking_key: BOOKING_KEY.into(),
            client_reference: false,
            application: None,
        },
        decode: event::decode,
    };
    decoder.unqueued(body.to_string().as_bytes())
}

/// The object with metadata that names the last of all bookings, and when it was made.
fn named(mut object: Value) -> Value {
    object["metadata"] = json!({ BOOKING_KEY: i32::MAX.to_string() });
    object["created"] = 1.into();
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_object_has_a_sample() {
        for event_type in EventType::ALL {
            let sample = sample(event_type.object()).decoded.unwrap();
            let of = EventType::parse(&sample.header.event_type).unwrap();
            assert_eq!(of.object(), event_type.object());
        }
    }
}
