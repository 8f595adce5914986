//! Computes objects anew from their archived events, as though the events came for the first
//! time.
//!
//! What was merged into an object is forgotten and its events are taken in again, in one
//! transaction under the writers' lock. Where the bytes of one of its events are gone, or some
//! events may be older than the ledger, what is known is kept and the main app's rows alone are
//! computed anew: an invoice that was paid must not be open because its payment is not archived.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::{
    ids::{BookingId, ObjectId},
    main_app::Target,
    source::Recheck,
};
use serde::Deserialize;
use shared::clock;
use store::{
    Connection, Error, WriteTx, archive,
    archive_page::ArchivePolicy,
    main_app::{LeftAlone, booking::Bookings},
    rebuild::{self, SourceEvent, Subject},
};

use crate::pipeline::{
    delivery::{Decoder, Delivery},
    executor::BatchExecutor,
    postgres::Postgres,
    process::{BatchResult, Work, process_again},
};

/// The most other objects that are computed anew because they name a booking that one of the
/// rebuilt objects names or has named. A host can make as many as it likes.
const MAX_NEIGHBOURS: i64 = 1000;

/// Computes objects anew.
#[derive(Debug)]
pub struct Rebuild<'a> {
    /// The transactions.
    pub executor: &'a BatchExecutor,
    /// How the events are decoded.
    pub decoder: &'a Decoder,
    /// Stripe's objects that were made from then on have all of their events in the ledger.
    pub complete_since: DateTime<Utc>,
}

/// What came of some objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// The objects whose events were taken in again.
    pub rebuilt: Vec<Subject>,
    /// The objects of which some event may be missing: what is known of them was kept.
    pub kept: Vec<Subject>,
    /// How many events were taken in again.
    pub events: usize,
    /// How many rows of the main app's could not be written, and are pending.
    pub pending: usize,
}

/// What is to be done in one transaction.
struct Prepared {
    /// The events, as deliveries.
    deliveries: Vec<Delivery>,
    /// What is computed anew besides.
    recheck: Recheck,
}

/// Which objects can be computed anew, and from what.
struct Plan {
    result: Rebuilt,
    /// The events by id, with their bytes.
    bodies: BTreeMap<String, Vec<u8>>,
}

impl Rebuild<'_> {
    /// Says what [`Rebuild::run`] would do, and changes nothing.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn plan(&self, subjects: &[Subject]) -> Result<Rebuilt, Error> {
        let conn = self.executor.pool.get().await?;
        Ok(self.look(&conn, subjects).await?.result)
    }

    /// Computes the objects anew, and the rows of these bookings and of every booking that the
    /// objects name or have named. All of it is committed, or nothing.
    ///
    /// # Errors
    /// The database cannot be used, or refuses a value.
    pub async fn run(
        &self,
        subjects: &[Subject],
        bookings: &[BookingId],
    ) -> Result<Rebuilt, Error> {
        let mut result = Rebuilt::default();
        let prepare = async |tx: &WriteTx<'_>| {
            let plan = self.look(tx, subjects).await?;
            let prepared = self.prepare(tx, &plan, bookings).await?;
            result = plan.result;
            Ok(prepared)
        };
        let done = self.executor.take_again(prepare).await?;
        result.pending = done.saved.projected.pending.len();
        Ok(result)
    }

    async fn look(&self, conn: &Connection, subjects: &[Subject]) -> Result<Plan, Error> {
        let events = rebuild::events(conn, subjects).await?;
        let ids: Vec<String> = events.iter().map(|event| event.id.clone()).collect();
        let mut bodies = archive::bodies(conn, &ids).await?;
        let mut result = Rebuilt::default();
        let mut wanted = BTreeSet::new();
        for subject in subjects {
            let of_it = events.iter().filter(|event| event.is_of(subject));
            let of_it: Vec<&SourceEvent> = of_it.collect();
            if self.is_complete(&of_it, &bodies) {
                wanted.extend(of_it.iter().map(|event| event.id.clone()));
                result.rebuilt.push(subject.clone());
            } else {
                result.kept.push(subject.clone());
            }
        }
        bodies.retain(|id, _| wanted.contains(id));
        result.events = bodies.len();
        Ok(Plan { result, bodies })
    }

    /// Whether these are all events that the object ever had, and their bytes are there.
    fn is_complete(&self, events: &[&SourceEvent], bodies: &BTreeMap<String, Vec<u8>>) -> bool {
        let of_events = events.iter().map(|event| bodies.get(&event.id));
        let Some(of_events) = of_events.collect::<Option<Vec<_>>>() else {
            return false;
        };
        let mut made = of_events.into_iter().filter_map(|body| object_made(body));
        made.next().is_some_and(|at| at >= self.complete_since)
    }

    async fn prepare(
        &self,
        tx: &WriteTx<'_>,
        plan: &Plan,
        bookings: &[BookingId],
    ) -> Result<Prepared, Error> {
        let Rebuilt { rebuilt, kept, .. } = &plan.result;
        let objects = |subjects: &[Subject]| -> Vec<ObjectId> {
            let objects = subjects.iter().filter_map(|subject| match subject {
                Subject::Object(object) => Some(object.clone()),
                Subject::Account(_) | Subject::Charge(_) | Subject::CreditNote(_) => None,
            });
            objects.collect()
        };
        let (rebuilt_objects, kept_objects) = (objects(rebuilt), objects(kept));
        let mut all_bookings: BTreeSet<BookingId> = bookings.iter().copied().collect();
        for of in [&rebuilt_objects, &kept_objects] {
            all_bookings.extend(rebuild::bookings_of(tx, of).await?);
        }
        let all_bookings: Vec<BookingId> = all_bookings.into_iter().collect();
        let neighbours = rebuild::objects_of(tx, &all_bookings, MAX_NEIGHBOURS).await?;
        // What a charge or a note gives back of its invoice is computed anew, also where its
        // events name another one by now.
        let given_back = rebuild::given_back(tx, rebuilt).await?;
        rebuild::forget(tx, rebuilt).await?;

        let accounts = rebuilt.iter().chain(kept);
        let hosts = accounts.filter_map(|subject| match subject {
            Subject::Account(id) => Some(Target::Host(id.clone())),
            Subject::Object(_) | Subject::Charge(_) | Subject::CreditNote(_) => None,
        });
        let rows = all_bookings.iter().copied().map(Target::Booking);
        let mut recheck = Recheck {
            objects: objects(&neighbours).into_iter().collect(),
            targets: rows.chain(hosts).collect(),
            ..Recheck::default()
        };
        recheck.objects.extend(kept_objects);
        recheck.objects.extend(rebuilt_objects);
        let given_back = given_back.into_iter().map(ObjectId::Invoice);
        recheck.objects.extend(given_back);
        let bodies = plan.bodies.values();
        Ok(Prepared {
            deliveries: bodies.map(|body| self.decoder.unqueued(body)).collect(),
            recheck,
        })
    }
}

impl BatchExecutor {
    /// Takes events again in one transaction, after `prepare` has forgotten their effects in it.
    async fn take_again(
        &self,
        prepare: impl AsyncFnOnce(&WriteTx<'_>) -> Result<Prepared, Error>,
    ) -> Result<BatchResult, Error> {
        let mut conn = self.pool.get().await?;
        let bookings = Bookings {
            are_here: self.look_for_bookings(&conn).await?,
            owner_query: self.owner_query.as_deref(),
        };
        let left_alone = LeftAlone::default();
        let now = clock::now_utc();
        let done = store::transaction(&mut conn, async |tx| {
            // The lock is the transaction's: taking it again below costs nothing.
            let prepared = prepare(&tx.lock_writers().await?).await?;
            let work = Work {
                deliveries: &prepared.deliveries,
                recheck: &prepared.recheck,
                archive: ArchivePolicy::Never,
            };
            let storage = Postgres::new(tx, bookings, &left_alone, self.outbox);
            process_again(&storage, work, now).await
        })
        .await?;
        self.main_app.note(&done.saved.projected);
        Ok(done)
    }
}

/// When Stripe made the object that an event is about, as the event says.
fn object_made(body: &[u8]) -> Option<DateTime<Utc>> {
    #[derive(Deserialize)]
    struct Wire {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        object: Object,
    }
    #[derive(Deserialize)]
    struct Object {
        created: i64,
    }
    let wire: Wire = serde_json::from_slice(body).ok()?;
    DateTime::from_timestamp(wire.data.object.created, 0)
}
