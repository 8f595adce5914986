//! What a batch writes besides its objects: the ledger's rows, the archive, dead letters,
//! and what came of replays. Without a database: the storage remembers what it has to
//! save.

mod recorder;
mod rows;

use domain::{
    account::Account,
    event::{Event as Decoded, EventData},
    outcome::Outcome,
};
use harness::stripe::{Account as HostAccount, Event};
use store::archive_page::ArchivePolicy;

use self::recorder::{
    RUN, Recorder, handled, of_other_mode, replayed, resolved, unhandled, unreadable,
};
use crate::support::delivery;

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
