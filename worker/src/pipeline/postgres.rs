//! A batch's storage in PostgreSQL, within one transaction.

use std::collections::BTreeMap;

use domain::{
    ids::BookingId,
    main_app::AppBooking,
    source::{Loaded, Missing, Source},
};
use futures_util::try_join;
use store::{
    Error, Transaction, WriteTx, account_transition, archive,
    archive_page::PageBuilder,
    dead_letter, event,
    main_app::{LeftAlone, booking::Bookings},
    outbox::Outbox,
    replay_item::{self, ReplayItemKey},
    working_set::{self, Tables},
};

use crate::pipeline::{
    admission::Known,
    delivery::Delivery,
    late_refusals,
    storage::{BatchChanges, Saved, Storage},
};

/// The tables, within a transaction.
pub(super) struct Postgres<'c> {
    tx: &'c Transaction<'c>,
    tables: Tables<'c>,
    left_alone: &'c LeftAlone,
    outbox: Outbox,
}

impl<'c> Postgres<'c> {
    pub(super) fn new(
        tx: &'c Transaction<'c>,
        bookings: Bookings<'c>,
        left_alone: &'c LeftAlone,
        outbox: Outbox,
    ) -> Self {
        Self {
            tx,
            tables: Tables::new(tx, bookings, left_alone.bookings.as_ref()),
            left_alone,
            outbox,
        }
    }
}

impl Source for Postgres<'_> {
    type Error = Error;

    async fn load(&self, missing: &Missing) -> Result<Loaded, Error> {
        self.tables.load(missing).await
    }

    fn has_owner_query(&self) -> bool {
        self.tables.has_owner_query()
    }

    async fn load_app(
        &self,
        bookings: &[BookingId],
    ) -> Result<BTreeMap<BookingId, AppBooking>, Error> {
        self.tables.load_app(bookings).await
    }
}

impl<'c> Storage for Postgres<'c> {
    type Lock = WriteTx<'c>;

    fn outbox(&self) -> Outbox {
        self.outbox
    }

    async fn lock(&self) -> Result<WriteTx<'c>, Error> {
        self.tx.lock_writers().await
    }

    async fn known(&self, deliveries: &[Delivery]) -> Result<Known, Error> {
        let ids: Vec<&str> = deliveries.iter().filter_map(Delivery::event_id).collect();
        let items = deliveries.iter();
        let items = items.filter_map(|delivery| delivery.metadata.replay.as_ref());
        let items: Vec<&ReplayItemKey> = items.collect();
        let (events, open_items) = try_join!(
            event::known(self.tx, &ids),
            replay_item::open(self.tx, &items)
        )?;
        Ok(Known { events, open_items })
    }

    async fn save(&self, lock: &WriteTx<'c>, changes: &BatchChanges<'_>) -> Result<Saved, Error> {
        let now = changes.now;
        // No two of these write the same row, but for the ledger's and what follows from
        // it. The first ends the savepoint of what was read.
        try_join!(
            self.tables.save(lock, &changes.objects),
            async {
                event::write(lock, &changes.ledger).await?;
                dead_letter::resolve(lock, &changes.resolved).await?;
                dead_letter::insert_many(lock, &changes.dead_letters).await
            },
            account_transition::write(lock, &changes.transitions),
            replay_item::note(lock, &changes.replay_notes),
            archive_pages(lock, changes.archive),
        )?;
        // It reads the ledger and the claims as they are saved.
        let refused_late = late_refusals::write(lock, &changes.late, now).await?;
        // By itself, because what the main app refuses is undone to the savepoint.
        let projected = working_set::project(lock, &changes.objects, self.left_alone, now).await?;
        Ok(Saved {
            refused_late,
            projected,
        })
    }
}

async fn archive_pages(lock: &WriteTx<'_>, pages: &[PageBuilder<'_>]) -> Result<(), Error> {
    // The pages are compressed while Postgres works on what it was sent before.
    tokio::task::yield_now().await;
    for page in pages {
        match page.compress() {
            Ok(compressed) => archive::insert(lock, page.id, &compressed).await?,
            // Compressing to memory does not fail. Without the bytes the events could
            // only not be replayed.
            Err(error) => tracing::error!(%error, "the bytes of events are not archived"),
        }
    }
    Ok(())
}
