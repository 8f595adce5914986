//! What a batch writes besides its objects: the ledger's rows, the archive, dead letters,
//! and what came of replays. Without a database: the storage remembers what it has to
//! save.

use std::{collections::BTreeMap, convert::Infallible, sync::Mutex};

use chrono::{DateTime, Utc};
use domain::{
    account::Account,
    decode::{moment, moment_of_millis},
    event::{Event as Decoded, EventData},
    ids::{AccountId, BookingId},
    main_app::AppBooking,
    outcome::{Decision, Outcome},
    ownership::Owner,
    source::{Booking, Loaded, Missing, Recheck, Source},
};
use harness::stripe::{Account as HostAccount, Event, Invoice, SAMPLE_TIME};
use lapin::{BasicProperties, message::Delivery as Message};
use serde_json::json;
use shared::message;
use store::{
    archive_page::ArchivePolicy,
    dead_letter::{NewDeadLetter, Origin},
    event::{DeliverySource, KnownEvent},
    replay_item::ReplayItemKey,
};
use worker::{
    amqp::{headers::add_replay_headers, properties_json},
    pipeline::{
        admission::Known,
        delivery::Delivery,
        process::{Work, process},
        storage::{self, BatchChanges, Storage},
    },
};

use crate::support::{decoder, delivery};

/// The run of every replay here.
const RUN: i64 = 5;
/// When every batch is applied.
const NOW: i64 = SAMPLE_TIME + 60;

/// What is known before a batch, and what the batch saves.
#[derive(Default)]
struct Recorder {
    known: Mutex<Known>,
    /// The account that has booking 1, where it is not the first to claim it.
    owner: Option<AccountId>,
    account: Option<Account>,
    /// What a test wants to see of the changes themselves.
    check: Option<fn(&BatchChanges<'_>)>,
    saved: Mutex<Saved>,
}

#[derive(Debug, Default)]
struct Saved {
    /// Each row as [`line`] writes it.
    ledger: Vec<String>,
    archived: Vec<String>,
    dead_letters: Vec<NewDeadLetter>,
    /// Item, outcome, reason.
    notes: Vec<(String, &'static str, Option<String>)>,
    resolved: Vec<(String, Option<i64>)>,
    accounts: Vec<String>,
    transitions: Vec<String>,
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

fn now() -> DateTime<Utc> {
    moment(NOW)
}

impl Recorder {
    /// One that knows the event `evt_1`, with this outcome.
    fn knowing(outcome: Option<Outcome>, is_archived: bool) -> Self {
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
    fn with_open_item(self, item: &str) -> Self {
        self.known.lock().unwrap().open_items.insert(key(item));
        self
    }

    /// Booking 1 is this account's.
    fn with_owner(mut self, account: &str) -> Self {
        self.owner = Some(account.into());
        self
    }

    async fn take(&self, deliveries: &[Delivery]) -> (Vec<&'static str>, Saved) {
        self.take_with(deliveries, ArchivePolicy::Compressed).await
    }

    async fn take_with(
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
fn replayed(body: &[u8], item: &str) -> Delivery {
    let properties = add_replay_headers(BasicProperties::default(), &key(item), "somebody");
    delivery_with(body, properties)
}

fn delivery_with(body: &[u8], properties: BasicProperties) -> Delivery {
    let (exchange, routing_key) = ("stripe.events".into(), "invoice.paid".into());
    let mut message = Message::mock(1, exchange, routing_key, false, body.to_vec());
    message.properties = properties;
    decoder().delivery(message).unwrap()
}

/// An event of an invoice of booking 1.
fn handled(id: &str) -> Vec<u8> {
    let event = Event::new(id, "invoice.paid", Invoice::default().value());
    event.of_account("acct_a").bytes()
}

/// An event of a type that the worker does not handle.
fn unhandled(id: &str) -> Vec<u8> {
    Event::new(id, "charge.succeeded", json!({ "id": "ch_1" })).bytes()
}

fn of_other_mode(id: &str) -> Vec<u8> {
    let mut event = Event::new(id, "charge.succeeded", json!({ "id": "ch_1" }));
    event.livemode = true;
    event.bytes()
}

/// An event whose object cannot be read.
fn unreadable(id: &str) -> Vec<u8> {
    let event = Event::new(id, "invoice.paid", json!({ "id": 1 }));
    event.of_account("acct_a").bytes()
}

fn resolved(id: &str, run: Option<i64>) -> (String, Option<i64>) {
    (id.to_owned(), run)
}

#[tokio::test]
async fn an_event_is_decided_again_only_where_it_had_no_effect() {
    let again = || vec![resolved("evt_1", None)];
    for (body, outcome, decision, resolved) in [
        (handled("evt_1"), None, "applied", vec![]),
        (
            handled("evt_1"),
            Some(Outcome::Applied),
            "duplicate",
            vec![],
        ),
        (handled("evt_1"), Some(Outcome::Stale), "duplicate", vec![]),
        (handled("evt_1"), Some(Outcome::Ignored), "applied", again()),
        (handled("evt_1"), Some(Outcome::Dead), "applied", again()),
        (
            handled("evt_1"),
            Some(Outcome::Replayed),
            "applied",
            again(),
        ),
        (unhandled("evt_1"), None, "ignored", vec![]),
        (
            unhandled("evt_1"),
            Some(Outcome::Ignored),
            "duplicate",
            vec![],
        ),
        (
            unhandled("evt_1"),
            Some(Outcome::Applied),
            "duplicate",
            vec![],
        ),
        (unhandled("evt_1"), Some(Outcome::Dead), "ignored", again()),
        (unreadable("evt_1"), None, "dead", vec![]),
        (unreadable("evt_1"), Some(Outcome::Dead), "dead", vec![]),
        (unreadable("evt_1"), Some(Outcome::Ignored), "dead", vec![]),
        (
            unreadable("evt_1"),
            Some(Outcome::Applied),
            "duplicate",
            vec![],
        ),
    ] {
        let recorder = Recorder::knowing(outcome, false);
        let (decisions, saved) = recorder.take(&[delivery(&body)]).await;
        assert_eq!(decisions, [decision], "{outcome:?}");
        assert_eq!(saved.resolved, resolved, "{outcome:?}");
        assert_eq!(saved.notes, []);
        let is_written = decision != "duplicate";
        assert_eq!(saved.ledger.len(), usize::from(is_written), "{outcome:?}");
        assert_eq!(saved.dead_letters.len(), usize::from(decision == "dead"));
    }
}

#[tokio::test]
async fn an_open_item_of_a_replay_has_an_applied_event_decided_again() {
    let both = || vec![resolved("item_1", Some(RUN)), resolved("evt_1", Some(RUN))];
    let item_alone = || vec![resolved("item_1", Some(RUN))];
    for (body, outcome, open, decision, reason, resolved) in [
        (
            handled("evt_1"),
            Outcome::Applied,
            "item_1",
            "applied",
            None,
            both(),
        ),
        (
            handled("evt_1"),
            Outcome::Stale,
            "item_1",
            "applied",
            None,
            both(),
        ),
        (
            handled("evt_1"),
            Outcome::Applied,
            "item_2",
            "duplicate",
            None,
            item_alone(),
        ),
        (
            handled("evt_1"),
            Outcome::Dead,
            "item_2",
            "applied",
            None,
            both(),
        ),
        (
            unhandled("evt_1"),
            Outcome::Ignored,
            "item_1",
            "ignored",
            Some("unhandled_type"),
            both(),
        ),
        (
            unreadable("evt_1"),
            Outcome::Applied,
            "item_1",
            "dead",
            Some("unreadable_object"),
            vec![],
        ),
    ] {
        let recorder = Recorder::knowing(Some(outcome), false).with_open_item(open);
        let (decisions, saved) = recorder.take(&[replayed(&body, "item_1")]).await;
        assert_eq!(decisions, [decision], "{outcome:?}");
        let note = ("item_1".to_owned(), decision, reason.map(str::to_owned));
        assert_eq!(saved.notes, [note]);
        assert_eq!(saved.resolved, resolved, "{outcome:?} {open}");
    }
    // A first delivery by a replay resolves the dead letter of that name alone.
    let first = [replayed(&handled("evt_1"), "sha256-1")];
    let (decisions, saved) = Recorder::default().take(&first).await;
    assert_eq!(decisions, ["applied"]);
    assert_eq!(saved.resolved, [resolved("sha256-1", Some(RUN))]);
}

#[tokio::test]
async fn an_event_has_its_effect_once_in_a_batch() {
    let [good, bad, none] = [
        delivery(&handled("evt_1")),
        delivery(&unreadable("evt_1")),
        delivery(b"no event"),
    ];
    let twice = [good.clone(), good.clone()];
    for (deliveries, decisions) in [
        (&twice[..], vec!["applied", "duplicate"]),
        // Two endpoints can bring one event in two API versions.
        (&[bad.clone(), good.clone()], vec!["duplicate", "applied"]),
        (&[good.clone(), bad.clone()], vec!["applied", "duplicate"]),
        (&[bad.clone(), bad.clone()], vec!["dead", "duplicate"]),
        // What has no id cannot be told apart.
        (&[none.clone(), none.clone()], vec!["dead", "dead"]),
    ] {
        for known in [None, Some(Outcome::Dead)] {
            let recorder = Recorder::knowing(known, false);
            let (decided, saved) = recorder.take(deliveries).await;
            assert_eq!(decided, decisions, "{known:?}");
            let is_dead = decisions.contains(&"dead");
            assert_eq!(saved.dead_letters.len(), usize::from(is_dead));
        }
    }
    // A duplicate does not keep other events from their effect.
    let recorder = Recorder::knowing(Some(Outcome::Applied), false);
    let batch = [good.clone(), delivery(&handled("evt_2")), good];
    let (decided, saved) = recorder.take(&batch).await;
    assert_eq!(decided, ["duplicate", "applied", "duplicate"]);
    assert_eq!(saved.ledger, ["evt_2 applied -"]);
}

#[tokio::test]
async fn the_bytes_of_events_that_can_be_asked_for_again_are_archived_once() {
    let of_owner = || Recorder::default().with_owner("acct_a");
    let of_other = || Recorder::default().with_owner("acct_b");
    let retried = |is_archived| Recorder::knowing(Some(Outcome::Dead), is_archived);
    let forced = || Recorder::knowing(Some(Outcome::Applied), true).with_open_item("item_1");
    for (recorder, body, is_archived) in [
        (of_owner(), handled("evt_1"), true),
        // Its claim may turn out to be accepted.
        (of_other(), handled("evt_1"), true),
        (retried(false), handled("evt_1"), true),
        (retried(true), handled("evt_1"), false),
        (forced(), handled("evt_1"), false),
        // A later release may handle its type.
        (of_owner(), unhandled("evt_1"), true),
        (of_owner(), of_other_mode("evt_1"), false),
        (of_owner(), unreadable("evt_1"), false),
        (of_owner(), b"no event".to_vec(), false),
    ] {
        let deliveries = [replayed(&body, "item_1")];
        let (decisions, saved) = recorder.take(&deliveries).await;
        let expected = is_archived.then(|| "evt_1".to_owned());
        let expected: Vec<String> = expected.into_iter().collect();
        assert_eq!(saved.archived, expected, "{decisions:?}");
    }
    let deliveries = [delivery(&handled("evt_1"))];
    let recorder = of_owner();
    let (_, saved) = recorder.take_with(&deliveries, ArchivePolicy::Never).await;
    assert!(saved.archived.is_empty());
    assert_eq!(saved.ledger, ["evt_1 applied -"]);
}

#[tokio::test]
async fn an_event_that_says_nothing_new_is_stale_and_archived() {
    let object = HostAccount {
        id: "acct_a".into(),
        ..HostAccount::default()
    };
    let event = Event::new("evt_1", "account.updated", object.value()).of_account("acct_a");
    let updated = delivery(&event.bytes());
    let mut known = Account::default();
    let Decoded { header, data } = updated.decoded.clone().unwrap();
    let EventData::Account(data) = data else {
        panic!("{data:?}");
    };
    let _ = known.merge(header.created, &header.id, &data.change);
    let recorder = |outcome| Recorder {
        account: Some(known.clone()),
        ..Recorder::knowing(outcome, false)
    };
    let (decisions, saved) = recorder(None).take(std::slice::from_ref(&updated)).await;
    assert_eq!(decisions, ["stale"]);
    assert_eq!(saved.archived, ["evt_1"]);
    assert_eq!(saved.transitions, ["evt_1"]);
    assert!(saved.accounts.is_empty());
    // An event that is decided again has its account written anew: its row may be gone.
    let recorder_of_dead = recorder(Some(Outcome::Dead));
    let (decisions, saved) = recorder_of_dead.take(std::slice::from_ref(&updated)).await;
    assert_eq!(decisions, ["applied"]);
    assert_eq!(saved.accounts, ["acct_a"]);
    // A duplicate writes nothing.
    let recorder_of_applied = recorder(Some(Outcome::Applied));
    let (decisions, saved) = recorder_of_applied.take(&[updated]).await;
    assert_eq!(decisions, ["duplicate"]);
    assert!(saved.accounts.is_empty() && saved.transitions.is_empty());
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const RECEIVED_MILLIS: i64 = 1_760_000_000_123;

#[tokio::test]
async fn a_row_of_the_ledger_has_what_its_event_and_its_delivery_say() {
    let first = handled("evt_1");
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let envelope = event::Envelope::read(&first).unwrap();
    let properties = message::properties(&envelope, RECEIVED_MILLIS, Some(&parent));
    let deliveries = [
        delivery_with(&first, properties),
        replayed(&unreadable("evt_2"), "item_1"),
        delivery(b"no event"),
    ];
    let recorder = Recorder {
        check: Some(check_rows),
        ..Recorder::default()
    };
    let (decisions, saved) = recorder.take(&deliveries).await;
    assert_eq!(decisions, ["applied", "dead", "dead"]);
    let lines = ["evt_1 applied -", "evt_2 dead unreadable_object"];
    assert_eq!(saved.ledger, lines);
}

fn check_rows(changes: &BatchChanges<'_>) {
    let [first, second] = changes.ledger.as_slice() else {
        panic!("{:?}", changes.ledger);
    };
    assert_eq!((first.id, first.event_type), ("evt_1", "invoice.paid"));
    assert_eq!(first.account, Some("acct_a"));
    assert!(first.api_version.is_some());
    assert_eq!(first.livemode, Some(false));
    assert_eq!(first.created, moment(SAMPLE_TIME));
    assert_eq!(first.object_id, Some("in_1Sample"));
    assert_eq!(first.booking, Some(BookingId(1)));
    assert_eq!(first.outcome, Outcome::Applied);
    assert_eq!(first.received_at, moment_of_millis(RECEIVED_MILLIS));
    assert_eq!(first.trace_id, Some(TRACE));
    assert_eq!(first.source, DeliverySource::Webhook);
    assert_eq!(changes.archive.len(), 1);
    assert_eq!(first.archive_page, Some(changes.archive[0].id));

    assert_eq!((second.object_id, second.booking), (None, None));
    assert_eq!(second.source, DeliverySource::Replay);
    assert_eq!((second.archive_page, second.trace_id), (None, None));
}

#[tokio::test]
async fn a_dead_letter_has_the_bytes_and_the_reason_of_its_event() {
    let body = unreadable("evt_1");
    let deliveries = [
        replayed(&body, "item_1"),
        delivery(b"no event"),
        delivery(&handled("evt_2")),
    ];
    let recorder = Recorder::default().with_owner("acct_b");
    let (decisions, saved) = recorder.take(&deliveries).await;
    assert_eq!(decisions, ["dead"; 3]);
    let [unreadable, foreign, none] = saved.dead_letters.as_slice() else {
        panic!("{:?}", saved.dead_letters);
    };
    assert_eq!((unreadable.id.as_str(), &unreadable.body), ("evt_1", &body));
    assert_eq!(unreadable.event_id.as_deref(), Some("evt_1"));
    assert_eq!(unreadable.routing_key, "invoice.paid");
    let properties = properties_json::to_json(&deliveries[0].properties);
    assert_eq!(unreadable.properties, properties);
    assert_eq!(unreadable.reason, "unreadable_object");
    assert!(unreadable.detail.starts_with("data.object is not"));
    assert_eq!(unreadable.origin, Origin::Worker);
    assert_eq!(unreadable.death_key, format!("verdict:{NOW}000"));
    assert_eq!(unreadable.died_at, now());
    let envelope = unreadable.envelope.as_ref().unwrap();
    assert_eq!(envelope.event_type, "invoice.paid");
    assert_eq!(envelope.account.as_deref(), Some("acct_a"));
    assert_eq!(envelope.livemode, Some(false));
    assert_eq!(envelope.created, Some(moment(SAMPLE_TIME)));
    assert!(envelope.api_version.is_some());

    assert_eq!(foreign.id, "evt_2");
    assert_eq!(foreign.reason, "booking_claimed_by_other_account");
    // Without an id its bytes tell it from others.
    assert_eq!(none.id.len(), "sha256-".len() + 64);
    assert!(none.id.starts_with("sha256-") && none.event_id.is_none());
    assert!(none.envelope.is_none());
    assert_eq!(none.reason, "unreadable_event");
}
