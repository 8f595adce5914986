//! A storage that remembers what it has to save, and the deliveries that tests of
//! batches give to the worker.

use std::{collections::BTreeMap, convert::Infallible, sync::Mutex};

use chrono::{DateTime, Utc};
use domain::{
    account::Account,
    decode::moment,
    ids::{AccountId, BookingId},
    main_app::AppBooking,
    outcome::{Decision, Outcome},
    ownership::Owner,
    source::{Booking, Loaded, Missing, Recheck, Source},
};
use harness::stripe::{Event, Invoice, SAMPLE_TIME};
use lapin::{BasicProperties, message::Delivery as Message};
use serde_json::json;
use store::{
    archive_page::ArchivePolicy, dead_letter::NewDeadLetter, event::KnownEvent,
    replay_item::ReplayItemKey,
};
use worker::{
    amqp::headers::add_replay_headers,
    pipeline::{
        admission::Known,
        delivery::Delivery,
        process::{Work, process},
        storage::{self, BatchChanges, Storage},
    },
};

use crate::support::decoder;

/// The run of every replay here.
pub(super) const RUN: i64 = 5;
/// When every batch is applied.
pub(super) const NOW: i64 = SAMPLE_TIME + 60;

/// What is known before a batch, and what the batch saves.
#[derive(Default)]
pub(super) struct Recorder {
    pub(super) known: Mutex<Known>,
    /// The account that has booking 1, where it is not the first to claim it.
    pub(super) owner: Option<AccountId>,
    pub(super) account: Option<Account>,
    /// What a test wants to see of the changes themselves.
    pub(super) check: Option<fn(&BatchChanges<'_>)>,
    pub(super) saved: Mutex<Saved>,
}

#[derive(Debug, Default)]
pub(super) struct Saved {
    /// Each row as [`line`] writes it.
    pub(super) ledger: Vec<String>,
    pub(super) archived: Vec<String>,
    pub(super) dead_letters: Vec<NewDeadLetter>,
    /// Item, outcome, reason.
    pub(super) notes: Vec<(String, &'static str, Option<String>)>,
    pub(super) resolved: Vec<(String, Option<i64>)>,
    pub(super) accounts: Vec<String>,
    pub(super) transitions: Vec<String>,
}

impl Source for Recorder {
    type Error = Infallible;

    async fn load(&self, missing: &Missing) -> Result<Loaded, Infallible> {
        let mut loaded = Loaded::default();
        for id in &missing.bookings {
            loaded.bookings.insert(*id, Booking::default());
        }
        for id in &missing.accounts {
            let account = self.account.iter().cloned();
            loaded.accounts.extend(account.map(|one| (id.clone(), one)));
        }
        Ok(loaded)
    }

    fn has_owner_query(&self) -> bool {
        self.owner.is_some()
    }

    async fn load_app(
        &self,
        bookings: &[BookingId],
    ) -> Result<BTreeMap<BookingId, AppBooking>, Infallible> {
        let app = AppBooking {
            configured_owner: self.owner.clone().map(Owner::Account),
            ..AppBooking::default()
        };
        Ok(bookings.iter().map(|id| (*id, app.clone())).collect())
    }
}

impl Storage for Recorder {
    type Lock = ();

    async fn lock(&self) -> Result<(), Infallible> {
        Ok(())
    }

    async fn known(&self, _: &[Delivery]) -> Result<Known, Infallible> {
        Ok(std::mem::take(&mut self.known.lock().unwrap()))
    }

    async fn save(
        &self,
        (): &(),
        changes: &BatchChanges<'_>,
    ) -> Result<storage::Saved, Infallible> {
        assert_eq!(changes.now, now());
        if let Some(check) = self.check {
            check(changes);
        }
        let pages = changes.archive.iter();
        let of_accounts = changes.objects.accounts.iter();
        let hosts: Vec<&AccountId> = changes
            .objects
            .app
            .hosts
            .iter()
            .map(|one| &one.account)
            .collect();
        let ids: Vec<&AccountId> = of_accounts.map(|(id, _)| *id).collect();
        assert_eq!(
            ids, hosts,
            "the main app's rows are those of the same accounts"
        );
        *self.saved.lock().unwrap() = Saved {
            ledger: lines(changes),
            archived: pages
                .flat_map(|page| page.ids().map(str::to_owned))
                .collect(),
            dead_letters: changes.dead_letters.clone(),
            notes: changes
                .replay_notes
                .iter()
                .map(|note| {
                    assert_eq!(note.item.run, RUN);
                    let reason = note.reason.map(str::to_owned);
                    (note.item.item.clone(), note.outcome, reason)
                })
                .collect(),
            resolved: changes
                .resolved
                .iter()
                .map(|(id, run)| ((*id).to_owned(), *run))
                .collect(),
            accounts: ids.iter().map(ToString::to_string).collect(),
            transitions: changes
                .transitions
                .iter()
                .map(|one| one.event_id.clone())
                .collect(),
        };
        Ok(storage::Saved::default())
    }
}

/// Of each row the event's id, its outcome and the reason.
fn lines(changes: &BatchChanges<'_>) -> Vec<String> {
    let rows = changes.ledger.iter();
    rows.map(|row| {
        let reason = row.reason.unwrap_or("-");
        format!("{} {} {reason}", row.id, row.outcome.as_str())
    })
    .collect()
}

pub(super) fn now() -> DateTime<Utc> {
    moment(NOW)
}

impl Recorder {
    /// One that knows the event `evt_1`, with this outcome.
    pub(super) fn knowing(outcome: Option<Outcome>, is_archived: bool) -> Self {
        let known = KnownEvent {
            outcome: outcome.unwrap_or(Outcome::Dead),
            is_archived,
        };
        let events = outcome.map(|_| ("evt_1".to_owned(), known));
        let known = Known {
            events: events.into_iter().collect(),
            ..Known::default()
        };
        Self {
            known: Mutex::new(known),
            ..Self::default()
        }
    }

    /// This item of a replay is not decided yet.
    pub(super) fn with_open_item(self, item: &str) -> Self {
        self.known.lock().unwrap().open_items.insert(key(item));
        self
    }

    /// Booking 1 is this account's.
    pub(super) fn with_owner(mut self, account: &str) -> Self {
        self.owner = Some(account.into());
        self
    }

    pub(super) async fn take(&self, deliveries: &[Delivery]) -> (Vec<&'static str>, Saved) {
        self.take_with(deliveries, ArchivePolicy::Compressed).await
    }

    pub(super) async fn take_with(
        &self,
        deliveries: &[Delivery],
        archive: ArchivePolicy,
    ) -> (Vec<&'static str>, Saved) {
        let work = Work {
            deliveries,
            recheck: &Recheck::default(),
            archive,
        };
        let Ok(done) = process(self, work, now()).await;
        let decisions = done.decisions.iter().map(Decision::as_str).collect();
        (decisions, std::mem::take(&mut self.saved.lock().unwrap()))
    }
}

fn key(item: &str) -> ReplayItemKey {
    ReplayItemKey {
        run: RUN,
        item: item.into(),
    }
}

/// A delivery by an operator's replay.
pub(super) fn replayed(body: &[u8], item: &str) -> Delivery {
    let properties = add_replay_headers(BasicProperties::default(), &key(item), "somebody");
    delivery_with(body, properties)
}

pub(super) fn delivery_with(body: &[u8], properties: BasicProperties) -> Delivery {
    let (exchange, routing_key) = ("stripe.events".into(), "invoice.paid".into());
    let mut message = Message::mock(1, exchange, routing_key, false, body.to_vec());
    message.properties = properties;
    decoder().delivery(message).unwrap()
}

/// An event of an invoice of booking 1.
pub(super) fn handled(id: &str) -> Vec<u8> {
    let event = Event::new(id, "invoice.paid", Invoice::default().value());
    event.of_account("acct_a").bytes()
}

/// An event of a type that the worker does not handle.
pub(super) fn unhandled(id: &str) -> Vec<u8> {
    Event::new(id, "charge.succeeded", json!({ "id": "ch_1" })).bytes()
}

pub(super) fn of_other_mode(id: &str) -> Vec<u8> {
    let mut event = Event::new(id, "charge.succeeded", json!({ "id": "ch_1" }));
    event.livemode = true;
    event.bytes()
}

/// An event whose object cannot be read.
pub(super) fn unreadable(id: &str) -> Vec<u8> {
    let event = Event::new(id, "invoice.paid", json!({ "id": 1 }));
    event.of_account("acct_a").bytes()
}

pub(super) fn resolved(id: &str, run: Option<i64>) -> (String, Option<i64>) {
    (id.to_owned(), run)
}
