//! Which snapshot of an account is the latest, and how far the host is.

use super::{Account, AccountChange, Candidate, LatestSnapshots, MAX_TIED};
use crate::{
    account_snapshot::AccountSnapshot,
    ids::AccountId,
    merge::Change,
    onboarding::{Onboarding, Status},
    tests::{Memory, load},
    working_set::WorkingSet,
};

const START: i64 = 1_760_000_000;

fn snapshot(country: &str) -> AccountSnapshot {
    AccountSnapshot {
        country: Some(country.into()),
        ..AccountSnapshot::default()
    }
}

fn candidate(country: &str) -> Candidate {
    Candidate {
        after: snapshot(country),
        before: None,
    }
}

fn updated(country: &str) -> AccountChange {
    AccountChange::Updated(Box::new(candidate(country)))
}

fn authorized() -> AccountChange {
    AccountChange::Authorized(Some("ca_1".into()))
}

fn deauthorized() -> AccountChange {
    AccountChange::Deauthorized(Some("ca_1".into()))
}

#[test]
fn an_account_knows_its_first_and_its_last_event() {
    let mut account = Account::default();
    assert_eq!(account.last_event(), None);
    for (at, change) in [(20, authorized()), (30, deauthorized())] {
        let _ = account.merge(START + at, &format!("evt_{at}"), &change);
    }
    assert_eq!(account.last_event(), Some(START + 30));
    assert_eq!(account.first_event, Some(START + 20));
    let earlier = account.merge(START, "evt_0", &updated("PT"));
    assert_eq!(earlier, Change::Changed);
    assert_eq!(account.last_event(), Some(START + 30));
    assert_eq!(account.first_event, Some(START));
}

#[test]
fn of_one_second_the_greatest_event_ids_are_kept() {
    let mut account = Account::default();
    let nth = |number: usize| format!("evt_{number:03}");
    let mut merge = |number| {
        let change = account.merge(START, &nth(number), &updated(&nth(number)));
        let kept = account.latest.as_ref().unwrap().candidates.keys();
        (change, kept.cloned().collect::<Vec<_>>())
    };
    for number in 1..=MAX_TIED {
        let (change, kept) = merge(number);
        assert_eq!((change, kept.len()), (Change::Changed, number));
    }
    let (change, kept) = merge(MAX_TIED + 1);
    assert_eq!((change, kept.len()), (Change::Changed, MAX_TIED));
    assert_eq!(kept.first(), Some(&nth(2)));
    let (change, kept) = merge(0);
    assert_eq!((change, kept.len()), (Change::Unchanged, MAX_TIED));
    assert_eq!(kept.first(), Some(&nth(2)));
}

#[test]
fn snapshots_of_one_second_are_tied_until_the_api_tells_the_last() {
    let latest = |countries: [&str; 2], api_snapshot: Option<AccountSnapshot>| LatestSnapshots {
        created: START,
        candidates: [("evt_1", countries[0]), ("evt_2", countries[1])]
            .map(|(id, country)| (id.to_owned(), candidate(country)))
            .into(),
        api_snapshot,
    };
    let is_tied = |latest: &LatestSnapshots| latest.winner().unwrap().is_tied;
    assert!(is_tied(&latest(["PT", "ES"], None)));
    assert!(!is_tied(&latest(["PT", "PT"], None)), "both are the same");
    let resolved = latest(["PT", "ES"], Some(snapshot("FR")));
    assert!(!is_tied(&resolved));
    assert_eq!(resolved.winner().unwrap().snapshot, &snapshot("FR"));
    assert!(!is_tied(&latest(["PT", "PT"], Some(snapshot("FR")))));
}

#[test]
fn the_deadline_is_todays_or_else_the_future_one() {
    let enabled = || AccountSnapshot {
        charges_enabled: true,
        payouts_enabled: true,
        details_submitted: true,
        ..AccountSnapshot::default()
    };
    let seen = |snapshot: &AccountSnapshot| {
        let seen = Onboarding::of_snapshot(snapshot);
        (seen.status, seen.deadline)
    };
    assert_eq!(seen(&enabled()), (Status::Enabled, None));
    let mut due = enabled();
    due.future_deadline = Some(9);
    assert_eq!(seen(&due), (Status::Enabled, None), "nothing is due then");
    due.future_currently_due = vec!["person.id".into()];
    assert_eq!(seen(&due), (Status::RestrictedSoon, Some(9)));
    due.requirements.current_deadline = Some(5);
    assert_eq!(seen(&due), (Status::RestrictedSoon, Some(5)));
    let mut without_time = enabled();
    without_time.future_currently_due = vec!["person.id".into()];
    assert_eq!(seen(&without_time), (Status::Enabled, None));
}

/// The answer of the API is about the snapshots that were known when it was asked.
#[test]
fn the_api_resolves_only_the_tie_that_it_was_asked_about() {
    let account = |countries: &[&str]| {
        let mut account = Account::default();
        for country in countries {
            let _ = account.merge(START, &format!("evt_{country}"), &updated(country));
        }
        account
    };
    let id = AccountId::from("acct_a");
    let asked = account(&["PT", "ES"]);
    let resolved = |now: Account| {
        let mut source = Memory::default();
        source.accounts.insert(id.clone(), now);
        let mut set = WorkingSet::for_accounts([&id]);
        load(&mut set, &source);
        let change = set.keep_api_snapshot(&id, &asked, snapshot("FR"));
        let (_, account, tracked) = set.accounts.iter_changes().next().unwrap();
        assert_eq!(tracked, change);
        let latest = account.latest.clone();
        (change, latest.and_then(|latest| latest.api_snapshot))
    };
    let known = resolved(account(&["PT", "ES"]));
    assert_eq!(known, (Change::Changed, Some(snapshot("FR"))));
    let newer = resolved(account(&["PT", "ES", "IT"]));
    assert_eq!(newer, (Change::Unchanged, None));
    assert_eq!(resolved(account(&[])), (Change::Unchanged, None));
    let mut cut = account(&["PT", "ES"]);
    let _ = cut.merge(START, "evt_cut", &deauthorized());
    assert_eq!(resolved(cut), (Change::Unchanged, None));
}

/// An account after these events, each with its seconds after the start.
fn after(signs: &[(i64, AccountChange)]) -> Account {
    let mut account = Account::default();
    for (at, change) in signs {
        let _ = account.merge(START + at, &format!("evt_{at}"), change);
    }
    account
}

#[test]
fn an_account_is_unknown_until_a_snapshot_of_its_connection_comes() {
    for (signs, expected) in [
        (vec![(20, authorized())], Status::Unknown),
        (
            vec![(20, authorized()), (20, updated("PT"))],
            Status::Incomplete,
        ),
        (
            vec![(20, authorized()), (10, updated("PT"))],
            Status::Unknown,
        ),
        // It was disconnected and came back.
        (
            vec![
                (10, updated("PT")),
                (15, deauthorized()),
                (20, authorized()),
            ],
            Status::Unknown,
        ),
        (
            vec![
                (10, updated("PT")),
                (15, deauthorized()),
                (20, authorized()),
                (21, updated("PT")),
            ],
            Status::Incomplete,
        ),
        (
            vec![(10, updated("PT")), (15, deauthorized())],
            Status::Disconnected,
        ),
        (vec![(15, deauthorized())], Status::Disconnected),
    ] {
        let account = after(&signs);
        let shown = Onboarding::of_account(&account);
        assert_eq!(
            (shown.status, shown.can_sell),
            (expected, false),
            "{signs:?}"
        );
        assert_eq!(
            account.needs_api(),
            expected == Status::Unknown,
            "{signs:?}"
        );
    }
}

/// The answer counts for the connection that was known, and until a snapshot of the
/// account comes that is as new.
#[test]
fn what_the_api_said_of_an_unknown_account_counts_until_an_event_says_more() {
    let unknown = after(&[
        (10, updated("PT")),
        (15, deauthorized()),
        (20, authorized()),
    ]);
    let country = |account: &Account| {
        let winner = account.winner().unwrap();
        (
            winner.snapshot.country.clone().unwrap(),
            account.needs_api(),
        )
    };
    let mut known = unknown.clone();
    let change = known.keep_api_snapshot(&unknown, snapshot("FR"));
    assert_eq!(
        (change, country(&known)),
        (Change::Changed, ("FR".into(), false))
    );
    assert_eq!(known.winner().unwrap().event_id, None);
    assert_eq!(known.last_event(), Some(START + 20));
    let asked = known.clone();
    let again = known.keep_api_snapshot(&asked, snapshot("DE"));
    assert_eq!((again, country(&known).0), (Change::Unchanged, "FR".into()));

    for (at, expected) in [(19, "FR"), (20, "IT"), (21, "IT")] {
        let mut account = known.clone();
        let _ = account.merge(START + at, "evt_new", &updated("IT"));
        assert_eq!(country(&account), (expected.into(), false), "{at}");
    }
    let mut cut = known.clone();
    let _ = cut.merge(START + 20, "evt_cut", &deauthorized());
    assert!(cut.is_disconnected());
    let _ = cut.merge(START + 30, "evt_back", &authorized());
    assert_eq!(country(&cut), ("FR".into(), true));

    // Whatever came in between may be newer than the answer.
    for change in [authorized(), deauthorized(), updated("IT")] {
        let mut account = unknown.clone();
        let _ = account.merge(START + 25, "evt_new", &change);
        let kept = account.keep_api_snapshot(&unknown, snapshot("FR"));
        assert_eq!(kept, Change::Unchanged, "{change:?}");
    }
}

#[test]
fn a_new_snapshot_of_the_second_removes_the_api_snapshot() {
    let mut account = Account::default();
    for country in ["PT", "ES"] {
        let _ = account.merge(START, &format!("evt_{country}"), &updated(country));
    }
    let asked = account.clone();
    assert_eq!(
        account.keep_api_snapshot(&asked, snapshot("FR")),
        Change::Changed
    );
    let again = account.merge(START, "evt_PT", &updated("PT"));
    assert_eq!(again, Change::Unchanged);
    assert!(!account.winner().unwrap().is_tied);
    let newer = account.merge(START, "evt_IT", &updated("IT"));
    assert_eq!(newer, Change::Changed);
    assert!(account.winner().unwrap().is_tied);
    assert_eq!(account.latest.unwrap().api_snapshot, None);
}

#[test]
fn the_latest_snapshot_is_that_of_the_latest_second() {
    let [early, late] = [(START, "PT"), (START + 1, "ES")];
    for order in [[early, late], [late, early]] {
        let mut account = Account::default();
        for (at, country) in order {
            let _ = account.merge(at, &format!("evt_{country}"), &updated(country));
        }
        let latest = account.latest.unwrap();
        assert_eq!(latest.created, START + 1);
        let kept: Vec<&str> = latest.candidates.keys().map(String::as_str).collect();
        assert_eq!(kept, ["evt_ES"]);
    }
}

#[test]
fn a_host_is_disconnected_until_a_later_sign_of_connection() {
    let cut = (20, deauthorized());
    for (signs, expected) in [
        (vec![], false),
        (vec![(20, authorized())], false),
        (vec![cut.clone()], true),
        (vec![cut.clone(), (19, authorized())], true),
        (vec![cut.clone(), (20, updated("PT"))], true),
        (vec![cut.clone(), (21, authorized())], false),
        (vec![cut, (21, updated("PT"))], false),
    ] {
        assert_eq!(after(&signs).is_disconnected(), expected, "{signs:?}");
    }
}

/// Of two snapshots of one second the one comes last whose event says what the other
/// one is.
#[test]
fn the_last_snapshot_of_a_second_is_the_one_that_none_follows() {
    let winner = |candidates: &[(&str, &str, Option<&str>)]| {
        let candidates = candidates.iter().map(|(id, country, before)| {
            let candidate = Candidate {
                before: before.map(snapshot),
                ..candidate(country)
            };
            ((*id).to_owned(), candidate)
        });
        let latest = LatestSnapshots {
            created: START,
            candidates: candidates.collect(),
            api_snapshot: None,
        };
        let winner = latest.winner().unwrap();
        (winner.event_id.unwrap().to_owned(), winner.is_tied)
    };
    let (first, second) = ("evt_1".to_owned(), "evt_2".to_owned());
    let chain = [("evt_1", "ES", Some("PT")), ("evt_2", "PT", None)];
    assert_eq!(winner(&chain), (first, false));
    let unrelated = [("evt_1", "ES", Some("FR")), ("evt_2", "PT", None)];
    assert_eq!(winner(&unrelated), (second.clone(), true));
    // There and back again: each follows the other.
    let circle = [("evt_1", "ES", Some("PT")), ("evt_2", "PT", Some("ES"))];
    assert_eq!(winner(&circle), (second.clone(), true));
    // An event that changed nothing that is kept does not follow itself.
    let same = [("evt_1", "PT", Some("PT")), ("evt_2", "PT", Some("PT"))];
    assert_eq!(winner(&same), (second, false));
}
