//! Which snapshot of an account stands, and how far the host is.

use super::{Account, Candidate, MAX_TIED, Sign, Standing as Snapshots};
use crate::{
    onboarding::{Status, onboarding},
    snapshot::Snapshot,
    version::Change,
    world::World,
};

const START: i64 = 1_760_000_000;

fn snapshot(country: &str) -> Snapshot {
    Snapshot {
        country: Some(country.into()),
        ..Snapshot::default()
    }
}

fn candidate(country: &str) -> Candidate {
    Candidate {
        after: snapshot(country),
        before: None,
    }
}

#[test]
fn an_account_knows_its_first_and_its_last_event() {
    let mut account = Account::default();
    assert_eq!(account.last_event(), None);
    for (at, sign) in [(20, Sign::Authorized), (30, Sign::Deauthorized)] {
        let _ = account.join(START + at, &format!("evt_{at}"), &sign);
    }
    assert_eq!(account.last_event(), Some(START + 30));
    assert_eq!(account.first_event, Some(START + 20));
    let earlier = Sign::Updated(Box::new(candidate("PT")));
    assert_eq!(account.join(START, "evt_0", &earlier), Change::Changed);
    assert_eq!(account.last_event(), Some(START + 30));
    assert_eq!(account.first_event, Some(START));
}

#[test]
fn of_one_second_the_greatest_event_ids_stay() {
    let mut account = Account::default();
    let nth = |number: usize| format!("evt_{number:03}");
    let mut join = |number| {
        let sign = Sign::Updated(Box::new(candidate(&nth(number))));
        let change = account.join(START, &nth(number), &sign);
        let kept = account.standing.as_ref().unwrap().candidates.keys();
        (change, kept.cloned().collect::<Vec<_>>())
    };
    for number in 1..=MAX_TIED {
        let (change, kept) = join(number);
        assert_eq!((change, kept.len()), (Change::Changed, number));
    }
    let (change, kept) = join(MAX_TIED + 1);
    assert_eq!((change, kept.len()), (Change::Changed, MAX_TIED));
    assert_eq!(kept.first(), Some(&nth(2)));
    let (change, kept) = join(0);
    assert_eq!((change, kept.len()), (Change::Unchanged, MAX_TIED));
    assert_eq!(kept.first(), Some(&nth(2)));
}

#[test]
fn a_tie_is_undecided_until_somebody_settles_it() {
    let tie = |countries: [&str; 2], settled: Option<Snapshot>| Snapshots {
        created: START,
        candidates: [("evt_1", countries[0]), ("evt_2", countries[1])]
            .map(|(id, country)| (id.to_owned(), candidate(country)))
            .into(),
        settled,
    };
    let undecided = |snapshots: &Snapshots| snapshots.winner().unwrap().undecided;
    assert!(undecided(&tie(["PT", "ES"], None)));
    assert!(!undecided(&tie(["PT", "PT"], None)), "both say the same");
    let settled = tie(["PT", "ES"], Some(snapshot("FR")));
    assert!(!undecided(&settled));
    assert_eq!(settled.winner().unwrap().snapshot, &snapshot("FR"));
    assert!(!undecided(&tie(["PT", "PT"], Some(snapshot("FR")))));
}

#[test]
fn the_deadline_is_todays_or_else_the_next() {
    let enabled = || Snapshot {
        charges_enabled: true,
        payouts_enabled: true,
        details_submitted: true,
        ..Snapshot::default()
    };
    let seen = |snapshot: &Snapshot| {
        let seen = onboarding(&Account::default(), snapshot);
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

/// What the API said was said of the snapshots that were known when it was asked.
#[test]
fn what_the_api_said_settles_the_tie_that_it_was_asked_about() {
    let world = |countries: &[&str]| {
        let mut account = Account::default();
        for country in countries {
            let sign = Sign::Updated(Box::new(candidate(country)));
            let _ = account.join(START, &format!("evt_{country}"), &sign);
        }
        let mut world = World::of_account("acct_a");
        world.accounts.insert("acct_a".into(), account);
        world
    };
    let asked = world(&["PT", "ES"]);
    let settled = |mut now: World| {
        now.settle_account("acct_a", &asked, snapshot("FR"));
        now.accounts["acct_a"].standing.clone().unwrap().settled
    };
    assert_eq!(settled(world(&["PT", "ES"])), Some(snapshot("FR")));
    assert_eq!(settled(world(&["PT", "ES", "IT"])), None);
}
